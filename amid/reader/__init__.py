"""The reader of one Asterisk: owns its manager connections, publishes its events, runs its actions.

reader              the process: joins the parts below
manager_connection  one connection to Asterisk and its session; tls for its encryption
event_stream        the session that receives events
lane_pool           the sessions that carry actions
answers             results and errors of calls; result_encoder encodes large results
publisher           numbers events and sends them
event_socket        one XPUB socket; subscribers counts its connections
pulls               the method `events`
tracer              the trace socket
"""
