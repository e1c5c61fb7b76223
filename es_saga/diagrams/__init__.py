"""Pictures of sagas: their definitions as graphs, their runs as sequence diagrams and timelines."""

from es_saga.diagrams.gantt import svg as timeline_svg
from es_saga.diagrams.graph import svg as definition_svg
from es_saga.diagrams.languages import dot as definition_dot
from es_saga.diagrams.languages import mermaid as definition_mermaid
from es_saga.diagrams.sequence import mermaid as sequence_mermaid
from es_saga.diagrams.sequence import svg as sequence_svg

__all__ = [
    "definition_dot",
    "definition_mermaid",
    "definition_svg",
    "sequence_mermaid",
    "sequence_svg",
    "timeline_svg",
]
