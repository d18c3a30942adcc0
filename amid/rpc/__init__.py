"""Calls as pure code: what a request must look like, and what becomes of every call that was accepted."""
