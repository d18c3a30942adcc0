package Amid::Socket;

# A DEALER socket whose every wait has an end. It closes itself when nobody holds it any more, as the sockets of ZMQ::FFI do, and
# does not wait for anything then: ZMQ::FFI sets ZMQ_LINGER to 0. With ZMQ_IMMEDIATE nothing is queued for a daemon that is not
# there, and so `unreachable` really means that nothing was sent.

use v5.36;

use Amid::Error;
use Errno qw(EAGAIN EINTR);
use Exporter qw(import);
use POSIX qw(ceil);
use Time::HiRes qw(clock_gettime CLOCK_MONOTONIC);
use ZMQ::FFI qw(ZMQ_DEALER ZMQ_IMMEDIATE ZMQ_RCVTIMEO ZMQ_SNDTIMEO);

our @EXPORT_OK = qw(now);

# Seconds on a clock that nobody sets.
sub now () { return clock_gettime(CLOCK_MONOTONIC) }

sub new ($class, $context, $endpoint) {
    my $zmq  = $context->socket(ZMQ_DEALER);
    my $self = bless { zmq => $zmq, context => $context, endpoint => $endpoint }, $class;    # ZMQ::FFI would let go of the context
    $zmq->die_on_error(0);
    $zmq->set(ZMQ_IMMEDIATE, 'int', 1);
    $zmq->connect($endpoint);
    $self->throw_unreachable($zmq->last_strerror) if $zmq->has_error;
    return $self;
}

# Whether somebody took the message over within so many seconds.
sub send ($self, $seconds, @frames) {
    return $self->_within($seconds, ZMQ_SNDTIMEO, sub ($zmq) { $zmq->send_multipart(\@frames); return 1 });
}

# The last frame of the next message, or undef when none came within so many seconds.
sub receive ($self, $seconds) {
    return $self->_within($seconds, ZMQ_RCVTIMEO, sub ($zmq) { return ($zmq->recv_multipart)[-1] });
}

sub throw_unreachable ($self, $reason) {
    Amid::Error->throw_unreachable("no amid daemon answers at $self->{endpoint} ($reason)");
}

# What `try` gives when it ends without an error, or undef. A signal ends a wait early, and the rest is waited for.
sub _within ($self, $seconds, $timeout_option, $try) {
    my $zmq      = $self->{zmq};
    my $deadline = now() + $seconds;
    for (my $left = $seconds; $left > 0; $left = $deadline - now()) {
        $zmq->set($timeout_option, 'int', ceil(1000 * $left));
        my $got = $try->($zmq);
        return $got if !$zmq->has_error;
        die 'ZeroMQ: ' . $zmq->last_strerror if $zmq->last_errno != EAGAIN && $zmq->last_errno != EINTR;
    }
    return;
}

1;
