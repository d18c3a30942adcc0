"""A recorded day in the simulated PBX, for `amid demo --recorded`.

recording   reads a file of the recorder, block by block
player      emits its events at their times, and knows the state of the PBX at each moment
lists       answers actions that request lists from that state
__main__    the process
"""
