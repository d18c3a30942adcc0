# Makes one action, then prints three events: clients/perl/example.pl [RUN_DIR]
use v5.36;
use FindBin;
use lib "$FindBin::Bin/lib";
use Amid;

binmode STDOUT, ':encoding(UTF-8)';
my ($run_dir) = @ARGV;
my $amid      = Amid->new(run_dir => $run_dir);
my $events    = $amid->events;

say $amid->action('Ping')->{response}{Ping};
for (1 .. 3) {
    my $item = $events->next(10);
    say $item isa Amid::Gap ? "$item" : join ' ', $item->server, $item->event, $item->fields->{Channel} // '';
}
