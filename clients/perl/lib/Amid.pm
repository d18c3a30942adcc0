package Amid;
use v5.36;

use Amid::Error;
use Amid::Events;
use Amid::MessagePack qw(decode_msgpack encode_msgpack);
use Amid::Socket qw(now);
use Carp qw(croak);
use List::Util qw(min);
use Scalar::Util qw(looks_like_number);
use ZMQ::FFI ();

our $VERSION = '1.0';

use constant {
    TIMEOUT           => 5,       # seconds a call may take unless its caller says otherwise; the daemon has the same default
    MAX_TIMEOUT           => 3600,    # the longest timeout that the daemon accepts, in seconds
    SEND_TIMEOUT          => 1,       # seconds until a request must be with a daemon
    MARGIN            => 1,       # seconds an answer may come after the call's timeout, for the way there and back
    MAX_REQUEST_BYTES => 1 << 20,
};

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
whose C<sent> says whether Asterisk may have seen the action. It never sends anything twice. Every timeout is in seconds, 5 when
left out, and holds even when the daemon is stopped: the error comes at most two seconds later.

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

=head2 action($name, \%fields, server => $name, timeout => 5, until => $event, raw => !!1)

Sends an action and returns its whole answer, a map: C<server>, C<action_id>, C<response>, C<events>, C<complete>, C<output>,
C<until>, C<elapsed>. A field is text, L<Amid::Bytes>, a number or a boolean, or a list of them for a header that is repeated.
C<server> may be left out when there is one. C<until>: the name of a later event with this ActionID to wait for as well, such as
C<OriginateResponse>. C<raw>: the answer has C<packets>, the bytes of each packet, in place of maps.

=cut

sub action ($self, $name, $fields = {}, %options) {
    return $self->_call_within('action', %options, action => $name, fields => $fields);
}

=head2 command($text, server => $name), restart($server), ping, servers, status, actions(server => $name), each with timeout => 5

The output lines of an Asterisk CLI command, a list. Replaces a server's reader. Asks the daemon, not Asterisk, for a sign of life.
Each server's name, state, version, epoch, endpoints, lanes and queue, a list of maps. Version, uptime, processes and counters of
the daemon, a map. The actions that this Asterisk offers, a list of maps: C<name>, C<synopsis>, C<privilege>.

=cut

sub command ($self, $text, %options) { return $self->action('Command', { Command => $text }, %options)->{output}->@* }
sub servers ($self, %options)          { return $self->call('servers', {}, $options{timeout})->@* }
sub status ($self, %options)           { return $self->call('status', {}, $options{timeout}) }
sub actions ($self, %options)          { return $self->_call_within('actions', %options)->@* }
sub restart ($self, $server, %options) { return $self->call('restart', { server => $server }, $options{timeout}) }
sub ping ($self, %options)             { return $self->call('ping', {}, $options{timeout}) }

=head2 events(names => \@names, server => $name)

The events with these names as they come, or all of them: an L<Amid::Events>. C<server>: one only; otherwise all that the daemon has
now. Whatever comes once this has returned is given.

=cut

=head2 state(kinds => \@kinds, where => 'state=Up', server => $name, timeout => 10), changes(kinds => \@kinds, server => $name)

The live state of a PBX, a map with a list for each of these kinds, or of all. The same as it changes, an L<Amid::Events> of changes;
C<kinds> is required, and C<server> is as for C<events>.

=cut

sub state ($self, %options)   { return $self->_call_within('state', timeout => Amid::Events::STATE_TIMEOUT, %options) }
sub events ($self, %options)  { return $self->_follow({ names => @{ $options{names} // [] } ? $options{names} : undef }, %options) }
sub changes ($self, %options) { return $self->_follow({ kinds => $options{kinds} }, %options) }

sub _follow ($self, $wanted, %options) {
    my @all = map { $_->{name} } $self->servers;
    return Amid::Events->new($self, $wanted, defined $options{server} ? $options{server} : @all);
}

=head2 call($method, \%params, $timeout), close

Any method of the daemon, with params as they are; returns its result. C<$timeout> is only how long to wait for it. C<close> closes
the socket of the calls; the client may be used again afterwards.

=cut

sub call ($self, $method, $params = {}, $timeout = undef) {
    croak q{this Amid was made before a fork, and its sockets are the parent's: make one in the child} if $self->{pid} != $$;

    # A timeout that the daemon will refuse is refused soon.
    my $is_sound = looks_like_number($timeout) && $timeout > 0 && $timeout <= MAX_TIMEOUT;
    my $patience = ($is_sound ? $timeout : TIMEOUT) + MARGIN;

    # A call from a signal handler gets a socket of its own, and that of a call without an answer closes by being forgotten.
    my $socket   = delete $self->{socket} // $self->connected;
    my $id       = $self->send_request($socket, $method, $params, SEND_TIMEOUT);
    my $deadline = now() + $patience;
    while (defined(my $message = $socket->receive($deadline - now()))) {
        my $reply = read_reply($message);
        next if !$reply || ($reply->{id} // $id) != $id;    # one without an id can only be ours: the socket has one call at a time
        $self->{socket} = $socket;
        return result_of($reply);
    }
    Amid::Error->throw(
        kind    => 'timeout',
        sent    => !!($method =~ /\A(?:action|restart)\z/),
        server  => $params->{server},
        message => "the daemon at $socket->{endpoint} took $method and gave no answer within $patience s: see `amid status`",
    );
}

sub close ($self) { delete $self->{socket}; return }

# A call with a timeout among its params. What is not set is left out, and a number that a program has as text is a number.
sub _call_within ($self, $method, %params) {
    delete @params{ grep { !defined $params{$_} } keys %params };
    $params{timeout} //= TIMEOUT;
    $params{timeout} += 0 if looks_like_number($params{timeout});
    return $self->call($method, \%params, $params{timeout});
}

# Hands a request to a broker within so many seconds, and returns its id.
sub send_request ($self, $socket, $method, $params, $seconds) {
    my $id = ++$self->{last_id};
    my $request = eval { encode_msgpack({ jsonrpc => '2.0', id => $id, method => $method, params => $params }) };
    my $invalid = "$method: a value cannot be put into a request: " . ($@ =~ s/\n\z//r);
    Amid::Error->throw(kind => 'invalid_params', message => $invalid) if !defined $request;
    my $too_large = "$method: the request has more than " . MAX_REQUEST_BYTES . ' bytes';
    Amid::Error->throw(kind => 'invalid_request', message => $too_large) if length $request > MAX_REQUEST_BYTES;
    $socket->send(min($seconds, SEND_TIMEOUT), q{}, $request) or $socket->throw_unreachable('nobody took the request');
    return $id;
}

# The reply in a message, or undef for a message that is none.
sub read_reply ($message) {
    my $reply = eval { decode_msgpack($message) };
    return ref $reply eq 'HASH' && (exists $reply->{result} || ref $reply->{error} eq 'HASH') ? $reply : undef;
}

sub result_of ($reply) {
    Amid::Error->throw_reply($reply->{error}) if $reply->{error};
    return $reply->{result};
}

# A socket to the daemon. A directory that was named is the only one: another could be another PBX's.
sub connected ($self) {
    my $named   = $self->{run_dir} // $ENV{AMID_RUN_DIR} // q{};
    my $private = $ENV{XDG_RUNTIME_DIR};
    my @looked;
    for my $path (map { "$_/rpc" } length $named ? $named : ('/run/amid', $private ? "$private/amid" : ())) {
        return Amid::Socket->new($self->{context}, "ipc://$path") if -S $path && -w _;
        push @looked, "$path: " . (-S $path ? 'this user may not use it' : $!{EACCES} ? 'this user may not enter it' : 'no socket');
    }
    Amid::Error->throw_unreachable('no amid daemon found (' . join('; ', @looked) . ')');
}

1;
