"""The process `state`: follows the events of each PBX and answers with its state.

state_service   the process, and the methods that it answers
follower        one server: publishes the changes of its state
subscription    receives the events of a server, without a gap
loader          loads and reconciles the state of a server
"""
