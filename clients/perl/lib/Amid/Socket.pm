package Amid::Socket;

# A ZeroMQ socket whose every wait has an end. It closes itself when nobody holds it any more, as the sockets of ZMQ::FFI do, and
# does not wait for anything then: ZMQ::FFI sets ZMQ_LINGER to 0.

use v5.36;

use Amid::Error;
use Errno qw(EAGAIN EINTR);
use Exporter qw(import);
use POSIX qw(ceil);
use Time::HiRes qw(clock_gettime CLOCK_MONOTONIC);
use ZMQ::FFI qw(ZMQ_DEALER ZMQ_IMMEDIATE ZMQ_RCVTIMEO ZMQ_SNDTIMEO ZMQ_SUB);

our @EXPORT_OK = qw(now);

# Seconds on a clock that nobody sets.
sub now () { return clock_gettime(CLOCK_MONOTONIC) }

# A socket for calls. context: a ZMQ::FFI. With ZMQ_IMMEDIATE nothing is queued for a daemon that is not there, and so `unreachable`
# really means that nothing was sent.
sub dealer ($class, $context, $endpoint) {
    my $self = $class->_new($context, ZMQ_DEALER);
    $self->{zmq}->set(ZMQ_IMMEDIATE, 'int', 1);
    $self->_connect($endpoint);
    return $self;
}

# A socket for events, subscribed to these topics in their order.
sub subscriber ($class, $context, $endpoints, $topics) {
    my $self = $class->_new($context, ZMQ_SUB);
    $self->_connect($_)         for @$endpoints;
    $self->{zmq}->subscribe($_) for @$topics;
    return $self;
}

sub _new ($class, $context, $type) {
    my $zmq = $context->socket($type);
    $zmq->die_on_error(0);
    return bless { zmq => $zmq, context => $context }, $class;    # ZMQ::FFI would let go of the context
}

sub _connect ($self, $endpoint) {
    $self->{endpoint} = $endpoint;
    $self->{zmq}->connect($endpoint);
    $self->throw_unreachable($self->{zmq}->last_strerror) if $self->{zmq}->has_error;
    return;
}

sub endpoint ($self) { return $self->{endpoint} }

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
