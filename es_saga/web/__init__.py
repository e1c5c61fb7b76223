"""The HTTP side: the API, the stream of news, and the dashboard, over one desk.

desk      what may be asked            access    who may ask, and who may act
app       puts it together             guard     what every request goes through
server    one listening socket         faults    the one shape of an error
"""
