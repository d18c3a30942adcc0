"""What happened in a call, as pure code: events become calls and ladders, and blocks for storage.

event         decodes what is needed of an event
fold          folds events into calls; rules has what each event means
legs          the known channels, and the leg and call of each; bridges has who hears whom
ladder        describes a call
masking       hides numbers
blocks        how events are stored

The process that stores them is `amid.recorder`.
"""
