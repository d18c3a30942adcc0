package Amid::Error;
use v5.36;
use builtin qw(true false);
no warnings 'experimental::builtin';

use overload '""' => sub ($self, @) { "$self->{kind}: $self->{message}$self->{where}" }, fallback => 1;

=head1 NAME

Amid::Error - a call that failed

=head1 DESCRIPTION

C<kind> is one of the daemon's, or C<unreachable> when there is no daemon. C<sent> is false when Asterisk certainly never saw the
action, and trying again is safe; true when it may have been carried out, so a second try may be a second phone call. C<message>
says it in words. C<server>, C<action_id> and C<response>, Asterisk's own packet, are undef when they are not known. As a string, an
error is its kind, its message and the line that called the client.

=cut

make_readers(__PACKAGE__, qw(kind sent message server action_id response));

# Makes methods that give a member each, of Amid::Events too.
sub make_readers ($class, @names) {
    no strict 'refs';
    for my $name (@names) { *{"${class}::$name"} = sub ($self) { $self->{$name} } }
    return;
}

# Dies with an error. known: kind and message, and any of sent, server, action_id and response.
sub throw ($class, %known) { die bless { sent => false, %known, where => _where() }, $class }

# Dies with the error of a reply: its `error` member. A kind that is new here is as good as any: what counts is `sent`.
sub throw_reply ($class, $error) {
    my $data  = $error->{data} // {};
    my $kind  = $data->{kind}  // 'internal_error';
    my %known = %$data{qw(server action_id response)};
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
