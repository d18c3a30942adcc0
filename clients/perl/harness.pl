# The harness of the Perl client; clients/CONFORMANCE.md says what it does. Run it with -I and the client's lib.
use v5.36;
use builtin qw(true false is_bool);
use feature 'try';
no warnings qw(experimental::builtin experimental::try);

use Amid;
use Amid::Bytes;
use Amid::MessagePack qw(decode_msgpack encode_msgpack);
use JSON::PP ();

my $JSON   = JSON::PP->new->ascii;
my $CLIENT = Amid->new(run_dir => $ARGV[0]);

# What each `do` does with its line.
my %DO = (decode => \&decode, encode => \&encode, call => \&call, calls => \&calls, events => \&events, changes => \&changes);

# The methods of the contract that the client has a function for.
my %METHODS = (
    action  => sub (%params) { $CLIENT->action(delete $params{action}, delete $params{fields}, %params) },
    servers => sub (%params) { [ $CLIENT->servers(%params) ] },
    status  => sub (%params) { $CLIENT->status(%params) },
    actions => sub (%params) { [ $CLIENT->actions(%params) ] },
    state   => sub (%params) { $CLIENT->state(%params) },
    restart => sub (%params) { $CLIENT->restart(delete $params{server}, %params) },
    ping    => sub (%params) { $CLIENT->ping(%params) },
);

$| = 1;
while (my $line = <STDIN>) {
    my $asked = meant($JSON->decode($line));
    $DO{ $asked->{do} }->($asked);
}

sub answer (%line) {
    say $JSON->encode(shown(\%line));
    return;
}

sub decode ($asked) { return answer(value => decode_msgpack(pack 'H*', $asked->{hex})) }

sub encode ($asked) { return answer(hex => unpack 'H*', encode_msgpack($asked->{value})) }

sub call ($asked) {
    my ($method, $params) = @$asked{qw(method params)};
    try {
        my $result = $METHODS{$method} ? $METHODS{$method}->(%$params) : $CLIENT->call($method, $params);
        answer(result => $result);
    }
    catch ($error) {
        die $error unless $error isa Amid::Error;
        answer(error => error($error));
    }
    return;
}

# The client has one call open at a time.
sub calls ($asked) {
    my $right = grep { is_answered($_) } 1 .. $asked->{count};
    return answer(right => $right, wrong => $asked->{count} - $right, at_once => 1);
}

# Whether a Ping gets its own answer.
sub is_answered ($number) {
    my $result = $CLIENT->action('Ping', { ActionID => "own-$number" }, server => 'pbx1');
    return $result->{response}{ActionID} eq "own-$number";
}

sub events ($asked) {
    my $events = $CLIENT->events(names => $asked->{names}, server => $asked->{server});
    answer(listening => true);
    my $left = $asked->{count};
    while ($left && defined(my $item = item($events, $asked->{timeout}))) {
        $item isa Amid::Gap ? answer(gap => gap($item)) : answer(event => event($item));
        $left-- if $item isa Amid::Event;
    }
    return answer(end => true, missed => $events->missed);
}

sub changes ($asked) {
    my $left = $asked->{resets};
    try {
        my $changes = $CLIENT->changes(kinds => $asked->{kinds}, server => $asked->{server});
        while ($left) {
            my $change = $changes->next($asked->{timeout});
            $left-- if $change->kind eq 'reset';
            answer(change => { map { defined $change->$_ ? ($_ => $change->$_) : () } qw(server epoch seq rev kind id set gone state) });
        }
        answer(end => true);
    }
    catch ($error) {
        die $error unless $error isa Amid::Error;
        answer(error => error($error));
    }
    return;
}

# The next item, or undef when `timeout` seconds brought none.
sub item ($events, $timeout) {
    try { return $events->next($timeout) }
    catch ($error) {
        die $error unless $error isa Amid::Error;
        return;
    }
}

sub error ($error) {
    my %known = map { $_ => $error->$_ } qw(kind sent message server action_id response);
    delete @known{ grep { !defined $known{$_} } keys %known };
    return \%known;
}

sub event ($event) { return { map { $_ => $event->$_ } qw(server epoch seq prev time event fields) } }

sub gap ($gap) { return { map { $_ => $gap->$_ } qw(server epoch after missed) } }

# ── values in lines ──

# The value that a line means.
sub meant ($line) {
    return $line   if !ref $line;
    return !!$line if $line isa JSON::PP::Boolean;
    return [ map { meant($_) } @$line ] if ref $line eq 'ARRAY';
    return Amid::Bytes->new(pack 'H*', $line->{'$bin'}) if exists $line->{'$bin'};
    return { map { meant_key($_) => meant($line->{$_}) } keys %$line };
}

sub meant_key ($key) { return $key =~ /\A\$bin:(.*)/ ? Amid::Bytes->new(pack 'H*', $1) : $key }

# A value as a line has it.
sub shown ($value) {
    return { '$bin' => unpack 'H*', $value->octets } if $value isa Amid::Bytes;
    return [ map { shown($_) } @$value ] if ref $value eq 'ARRAY';
    return { map { shown_key($_) => shown($value->{$_}) } keys %$value } if ref $value eq 'HASH';
    return $value ? JSON::PP::true : JSON::PP::false if is_bool($value);
    return $value;
}

sub shown_key ($key) {
    return Amid::Bytes::in_text($key) ? '$bin:' . unpack 'H*', Amid::Bytes->from_text($key)->octets : $key;
}
