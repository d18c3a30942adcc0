package Amid::Error;
use v5.36;
use builtin qw(true false);
no warnings 'experimental::builtin';

use overload '""' => sub ($self, @) { "$self->{kind}: $self->{message}$self->{where}" }, fallback => 1;

=head1 NAME

Amid::Error - a call that did not end well

=head1 SYNOPSIS

    use feature 'try';
    try { $amid->action('Hangup', { Channel => $channel }) }
    catch ($error) {
        die $error unless $error isa Amid::Error && $error->kind eq 'action_failed';
        warn 'it has hung up already: ', $error->message;
    }

=head1 DESCRIPTION

The word that matters to a dialer is C<sent>. False: Asterisk certainly never saw the action, and trying again is safe. True: it may
have been carried out, so a second try may be a second phone call. As a string, an error is its kind, its message and the line that
called the client.

=over

=item kind

One of the daemon's (C<action_failed>, C<timeout>, C<not_connected>, ...), or C<unreachable> when there is no daemon to talk to.

=item sent

True or false, as above.

=item message

In words.

=item server, action_id

Where, and under which ActionID, when that is known.

=item response

Asterisk's own packet, a map from header name to text, for C<action_failed> and for a C<timeout> after Asterisk had answered.

=item oldest

With C<gone>: the first number of that epoch that C<replay> still has, when there is one.

=back

=cut

sub kind ($self)      { return $self->{kind} }
sub sent ($self)      { return $self->{sent} }
sub message ($self)   { return $self->{message} }
sub server ($self)    { return $self->{server} }
sub action_id ($self) { return $self->{action_id} }
sub response ($self)  { return $self->{response} }
sub oldest ($self)    { return $self->{oldest} }

# Dies with an error. known: kind and message, and any of sent, server, action_id, response and oldest.
sub throw ($class, %known) {
    die bless { sent => false, %known, where => _where() }, $class;
}

# Dies with the error of a reply: its `error` member. A kind that is new here is as good as any: what counts is `sent`.
sub throw_reply ($class, $error) {
    my $data = $error->{data} // {};
    my %known = map { $_ => $data->{$_} } qw(server action_id response oldest);
    my $kind  = $data->{kind} // 'internal_error';
    $class->throw(%known, kind => $kind, sent => $data->{sent} // true, message => $error->{message} // $kind);
}

# Dies because there is no daemon to talk to: nothing was sent.
sub throw_unreachable ($class, $what) {
    my $advice = 'start one with `amid run`, or name its directory with run_dir or AMID_RUN_DIR';
    $class->throw(kind => 'unreachable', message => "$what: $advice");
}

# The line of the program that called the client, as `die` would say it.
sub _where () {
    my $depth = 0;
    while (my ($package, $file, $line) = caller $depth++) {
        return " at $file line $line.\n" if $package !~ /\AAmid\b/;
    }
    return "\n";
}

1;
