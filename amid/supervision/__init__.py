"""How a child is watched and replaced, as pure code: no process, no pipe, no clock."""
