package Amid;
use v5.36;
use feature 'try';
no warnings 'experimental::try';

use Amid::Error;
use Amid::Event;
use Amid::Events;
use Amid::Feed;
use Amid::MessagePack qw(decode_msgpack encode_msgpack);
use Amid::Socket qw(now);
use Carp qw(croak);
use Scalar::Util qw(looks_like_number);
use ZMQ::FFI ();

our $VERSION = '1.0';

use constant {
    TIMEOUT  => 5,       # seconds a call may take unless its caller says otherwise; the daemon has the same default
    LONGEST  => 3600,    # the longest timeout that the daemon accepts, in seconds
    HANDOVER => 1,       # seconds until a request must be with a daemon
    MARGIN   => 1,       # seconds an answer may come after the call's timeout, for the way there and back
};

# The methods that may change something: without an answer, nobody knows whether they did.
my %ACTS = map { $_ => 1 } qw(action restart);

=head1 NAME

Amid - actions and events of an Asterisk PBX, through the amid daemon

=head1 SYNOPSIS

    use Amid;
    my $amid   = Amid->new;
    my $answer = $amid->action('QueueStatus', { Queue => 'support' });
    say $_->{Name} for grep { $_->{Event} eq 'QueueMember' } $answer->{events}->@*;

    my $events = $amid->events(names => ['Hangup']);
    while (my $item = $events->next) { ... }

=head1 DESCRIPTION

A client of amid, the daemon beside an Asterisk. Every method dies with an L<Amid::Error>, whose C<kind> says what happened and
whose C<sent> says whether Asterisk may have seen the action. It never sends anything twice. Every timeout is in seconds, and
holds even when the daemon is stopped: the error comes at most two seconds later.

Text is strings of characters, both ways: decode what you read, encode what you print. What is not UTF-8 is L<Amid::Bytes>.
C<!!1> is sent as true, C<42> as a number, and C<"0042"> as text.

One call is open at a time. A process that forks makes its clients in the children.

=head2 new(run_dir => $directory)

Nothing is opened before the first call. Without C<run_dir>, the daemon is in C<$AMID_RUN_DIR>, or without it in the first of
F</run/amid> and F<$XDG_RUNTIME_DIR/amid> that holds its socket.

=cut

sub new ($class, %options) {
    my $run_dir = delete $options{run_dir};
    croak 'Amid->new has no option ' . join ', ', sort keys %options if %options;
    return bless { run_dir => $run_dir, context => ZMQ::FFI->new, last_id => 0, pid => $$ }, $class;
}

=head2 action($name, \%fields, server => $name, timeout => 5, until => $event)

Sends an action and returns its whole answer, a map: C<server>, C<action_id>, C<response>, C<events>, C<complete>, C<output>,
C<until>, C<elapsed>. A field is text, L<Amid::Bytes>, a number or a boolean, or a list of them for a header that is repeated.
C<server> may be left out when there is one. C<until>: the name of a later event with this ActionID to wait for as well, such as
C<OriginateResponse>.

=cut

sub action ($self, $name, $fields = {}, %options) {
    my $params = _params(timeout => TIMEOUT, %options, action => $name, fields => $fields);
    return $self->call('action', $params, $params->{timeout});
}

=head2 command($text, server => $name, timeout => 5)

The output lines of an Asterisk CLI command, a list.

=cut

sub command ($self, $text, %options) {
    return $self->action('Command', { Command => $text }, %options)->{output}->@*;
}

=head2 servers(timeout => 5)

Each server's name, state, version, epoch, endpoints, lanes and queue, a list of maps.

=cut

sub servers ($self, %options) {
    return $self->call('servers', {}, $options{timeout})->@*;
}

=head2 status(timeout => 5)

Servers, processes, counters, version and uptime of the daemon, a map.

=cut

sub status ($self, %options) {
    return $self->call('status', {}, $options{timeout});
}

=head2 actions(server => $name, timeout => 5)

The actions that this Asterisk offers, a list of maps: C<name>, C<synopsis>, C<privilege>.

=cut

sub actions ($self, %options) {
    my $params = _params(timeout => TIMEOUT, %options);
    return $self->call('actions', $params, $params->{timeout})->@*;
}

=head2 replay($server, $epoch, $after, limit => 1000, timeout => 5)

The events of an epoch behind number C<$after> once more. A map: C<events>, a list of L<Amid::Event>, and C<more>, whether there are
more. Of kind C<gone> when they are no longer held.

=cut

sub replay ($self, $server, $epoch, $after, %options) {
    my $params = _params(timeout => TIMEOUT, %options, server => $server, epoch => $epoch, after => $after);
    my $page   = $self->call('replay', $params, $params->{timeout});
    return { events => [ map { Amid::Event->new($_) } $page->{events}->@* ], more => $page->{more} };
}

=head2 restart($server, timeout => 5)

Replaces a server's reader.

=cut

sub restart ($self, $server, %options) {
    return $self->call('restart', { server => $server }, $options{timeout});
}

=head2 ping(timeout => 5)

Asks the daemon, not Asterisk, for a sign of life.

=cut

sub ping ($self, %options) {
    return $self->call('ping', {}, $options{timeout});
}

=head2 events(names => \@names, server => $name)

The events with these names as they come, or all of them: an L<Amid::Events>. C<server>: one only; otherwise all that the daemon has
now. The subscription is in effect when this returns: the first tick of every server that is up has come, or 2 s have passed.

=cut

sub events ($self, %options) {
    my $feed = Amid::Feed->new([ $self->servers ], $options{names} // [], $options{server}, now());
    return Amid::Events->new($self, $self->{context}, $feed);
}

=head2 call($method, \%params, $timeout)

Any method of the daemon, with params as they are; returns its result. C<$timeout> is only how long to wait for it: 5 when undef.

=cut

sub call ($self, $method, $params = {}, $timeout = undef) {
    croak q{this Amid was made before a fork, and its sockets are the parent's: make one in the child} if $self->{pid} != $$;
    my $id       = ++$self->{last_id};
    my $request  = _request($id, $method, $params);
    my $patience = _patience($timeout // TIMEOUT);

    # A call from a signal handler gets a socket of its own, and that of a call without an answer closes by being forgotten.
    my $socket = delete $self->{socket} // $self->_connected;
    $socket->send(HANDOVER, '', $request) or $socket->throw_unreachable('nobody took the request');
    my $reply = _receive_reply($socket, $id, $patience) // _throw_timeout($socket, $method, $params, $patience);
    $self->{socket} = $socket;

    Amid::Error->throw_reply($reply->{error}) if $reply->{error};
    return $reply->{result};
}

=head2 close

Closes the socket of the calls. The client may be used again afterwards.

=cut

sub close ($self) {
    delete $self->{socket};
    return;
}

# ── requests and replies ──

# The params that are set. Programs often have numbers as text, from a command line or a database: these must be numbers.
sub _params (%params) {
    delete @params{ grep { !defined $params{$_} } keys %params };
    $params{$_} += 0 for grep { looks_like_number($params{$_}) } qw(timeout limit epoch after);
    return \%params;
}

# Seconds to wait for an answer. A timeout that the daemon will refuse is refused soon.
sub _patience ($timeout) {
    my $is_sound = looks_like_number($timeout) && $timeout > 0 && $timeout <= LONGEST;
    return ($is_sound ? $timeout : TIMEOUT) + MARGIN;
}

sub _request ($id, $method, $params) {
    try {
        return encode_msgpack({ jsonrpc => '2.0', id => $id, method => $method, params => $params });
    }
    catch ($reason) {
        chomp $reason;
        Amid::Error->throw(kind => 'invalid_params', message => "$method: a value cannot be put into a request: $reason");
    }
}

# The reply to a request, or undef. One without an id can only be ours too: the socket has one call at a time.
sub _receive_reply ($socket, $id, $patience) {
    my $deadline = now() + $patience;
    while (defined(my $message = $socket->receive($deadline - now()))) {
        my $reply = _reply($message);
        return $reply if $reply && ($reply->{id} // $id) == $id;
    }
    return;
}

# The reply in a message, or undef for a message that is none.
sub _reply ($message) {
    my $reply = eval { decode_msgpack($message) };
    return if ref $reply ne 'HASH';
    return $reply if exists $reply->{result} || ref $reply->{error} eq 'HASH';
    return;
}

sub _throw_timeout ($socket, $method, $params, $patience) {
    my $what     = $method eq 'action' ? "the action $params->{action}" : $method;
    my $endpoint = $socket->endpoint;
    Amid::Error->throw(
        kind    => 'timeout',
        sent    => !!$ACTS{$method},
        server  => $params->{server},
        message => "the daemon at $endpoint took $what and gave no answer within $patience s: see `amid status`",
    );
}

# ── where the daemon is ──

sub _connected ($self) {
    my @looked;
    for my $path (map { "$_/rpc" } $self->_run_dirs) {
        my $obstacle = _obstacle($path) // return Amid::Socket->dealer($self->{context}, "ipc://$path");
        push @looked, "$path: $obstacle";
    }
    Amid::Error->throw_unreachable('no amid daemon found (' . join('; ', @looked) . ')');
}

# One that was named is the only one: another could be another PBX's.
sub _run_dirs ($self) {
    return $self->{run_dir} if defined $self->{run_dir};
    return $ENV{AMID_RUN_DIR} if length( $ENV{AMID_RUN_DIR} // q{} );
    my $private = $ENV{XDG_RUNTIME_DIR};
    return ( '/run/amid', $private ? "$private/amid" : () );
}

# What keeps this user from a socket, or undef. Connecting to one takes the permission to write it.
sub _obstacle ($path) {
    return $!{EACCES} ? 'this user may not enter it' : 'no socket' if !-S $path;
    return -w _ ? undef : 'this user may not use it';
}

1;
