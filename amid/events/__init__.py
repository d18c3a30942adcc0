"""The event stream as pure code: numbering for the publisher, gap detection for the subscriber, and what is kept for replay."""
