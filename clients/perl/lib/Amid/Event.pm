package Amid::Event;
use v5.36;

=head1 NAME

Amid::Event - one event of a PBX

=over

=item server, epoch, seq, nth

Whose it is; the event session it belongs to and its number there; its number among the events of its name.

=item time

When the daemon read it, in seconds since 1970.

=item event

Its name.

=item fields

A map from header name to value: text, L<Amid::Bytes> when it is not UTF-8, or a list of them when the header is repeated.

=back

=cut

sub server ($self) { return $self->{server} }
sub epoch ($self)  { return $self->{epoch} }
sub seq ($self)    { return $self->{seq} }
sub nth ($self)    { return $self->{nth} }
sub time ($self)   { return $self->{time} }
sub event ($self)  { return $self->{event} }
sub fields ($self) { return $self->{fields} }

# body: the event as it was published or as `replay` gives it.
sub new ($class, $body) {
    return bless { %$body{qw(server epoch seq nth time event fields)} }, $class;
}

1;
