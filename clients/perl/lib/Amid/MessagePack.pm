package Amid::MessagePack;

# The part of MessagePack that amid speaks.
#
# Data::MessagePack cannot be used: it packs either all strings as text or all as bytes, and Latin-1 text as invalid UTF-8.

use v5.36;
use builtin qw(true false is_bool created_as_number);
no warnings 'experimental::builtin';

use Amid::Bytes;
use Exporter qw(import);

our @EXPORT_OK = qw(encode_msgpack decode_msgpack);

# A value as MessagePack. undef is nil, `!!1` true; what was made as a number is a number, and "0042" is text. Text is `str`;
# Amid::Bytes, and text with the lone surrogates that mean bytes, are `bin`. Dies of what has no place in a message.
sub encode_msgpack ($value) {
    return "\xC0" if !defined $value;
    return _reference($value) if ref $value;
    return $value ? "\xC3" : "\xC2" if is_bool($value);
    return created_as_number($value) ? _number($value) : _text($value);
}

sub _reference ($value) {
    return _bytes($value) if $value isa Amid::Bytes;
    return join '', _head(0x90, 16, 0xDD, scalar @$value), map { encode_msgpack($_) } @$value if ref $value eq 'ARRAY';
    return join '', _head(0x80, 16, 0xDF, scalar keys %$value), map { _pair($_, $value->{$_}) } keys %$value
        if ref $value eq 'HASH';
    die 'a value of type ' . ref($value) . " cannot be sent\n";
}

# Keys are text in Perl, even those that look like numbers.
sub _pair ($key, $value) { return _text($key) . encode_msgpack($value) }

# A fraction, and what 64 bits do not hold, is a double.
sub _number ($value) {
    return pack 'Cd>', 0xCB, $value if abs $value >= 2**63 || $value != int $value;
    return $value >= 0 && $value < 128 ? chr $value : pack 'Cq>', 0xD3, $value;
}

sub _text ($text) {
    return _bytes(Amid::Bytes->from_text($text)) if Amid::Bytes::in_text($text);
    my $octets = Amid::Bytes::utf8($text);
    return _head(0xA0, 32, 0xDB, length $octets) . $octets;
}

sub _bytes ($bytes) { return pack 'CN/a*', 0xC6, $bytes->octets }

# The head of something with a length: in one byte with `fix` when it is `below`, else in five.
sub _head ($fix, $below, $long, $length) {
    return $length < $below ? chr($fix | $length) : pack 'CN', $long, $length;
}

# The message that is being read, and how far it is.
our ($Message, $At);

my @NUMBERS = (
    [ 0xCA, 'f>', 4 ], [ 0xCB, 'd>', 8 ], [ 0xCC, 'C',  1 ], [ 0xCD, 'S>', 2 ], [ 0xCE, 'L>', 4 ],
    [ 0xCF, 'Q>', 8 ], [ 0xD0, 'c',  1 ], [ 0xD1, 's>', 2 ], [ 0xD2, 'l>', 4 ], [ 0xD3, 'q>', 8 ],
);

# What reads the rest of a value, by its first byte.
my %READERS = (
    (map { my $number = $_;         $_ => sub { $number } } 0x00 .. 0x7F),
    (map { my $length = $_ & 0x0F;  $_ => sub { _read_map($length) } } 0x80 .. 0x8F),
    (map { my $length = $_ & 0x0F;  $_ => sub { _read_array($length) } } 0x90 .. 0x9F),
    (map { my $length = $_ & 0x1F;  $_ => sub { _read_text($length) } } 0xA0 .. 0xBF),
    (map { my $number = $_ - 0x100; $_ => sub { $number } } 0xE0 .. 0xFF),
    (map { my ($first, $format, $size) = @$_; $first => sub { unpack $format, _take($size) } } @NUMBERS),
    0xC0 => sub { undef },
    0xC2 => sub { false },
    0xC3 => sub { true },
    0xC4 => sub { Amid::Bytes->new(_take(unpack 'C', _take(1))) },
    0xC5 => sub { Amid::Bytes->new(_take(unpack 'n', _take(2))) },
    0xC6 => sub { Amid::Bytes->new(_take(unpack 'N', _take(4))) },
    0xD9 => sub { _read_text(unpack 'C', _take(1)) },
    0xDA => sub { _read_text(unpack 'n', _take(2)) },
    0xDB => sub { _read_text(unpack 'N', _take(4)) },
    0xDC => sub { _read_array(unpack 'n', _take(2)) },
    0xDD => sub { _read_array(unpack 'N', _take(4)) },
    0xDE => sub { _read_map(unpack 'n', _take(2)) },
    0xDF => sub { _read_map(unpack 'N', _take(4)) },
);
my @READERS = @READERS{ 0x00 .. 0xFF };

# The value of a message: text as strings of characters, `bin` as Amid::Bytes, a map's key that is one as the text that means it.
# Dies of a message that is not MessagePack. `local`, because a signal handler may make a call while a message is read.
sub decode_msgpack ($message) {
    local ($Message, $At) = ($message, 0);
    my $value = _read();
    die "a message of MessagePack has more than one value\n" if $At != length $message;
    return $value;
}

sub _read () {
    my $first  = ord _take(1);
    my $reader = $READERS[$first] // die sprintf "no MessagePack of amid begins with byte %02x\n", $first;
    return $reader->();
}

sub _take ($length) {
    die "a message of MessagePack is cut short\n" if $At + $length > length $Message;
    my $taken = substr $Message, $At, $length;
    $At += $length;
    return $taken;
}

sub _read_text ($length) {
    my $text = _take($length);
    utf8::decode($text) or die "text in MessagePack is not UTF-8\n";
    return $text;
}

sub _read_array ($length) { return [ map { _read() } 1 .. $length ] }

sub _read_map ($length) { return +{ map { _read() } 1 .. 2 * $length } }

1;
