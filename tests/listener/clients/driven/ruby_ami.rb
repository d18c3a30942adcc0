# ruby_ami, which raises an answer with Error unless it is given another handler.
require "logger"
require "ruby_ami"

host, port, username, secret = ARGV
name = ENV["AMI_EVENT"]
$stdout.sync = true
Celluloid.logger = nil
connected = Queue.new
on_event = lambda do |event|
  connected << event if event.is_a?(RubyAMI::Stream::Connected)
  puts "event #{event.headers["Number"]}" if event.name == "UserEvent" && event.headers["UserEvent"] == name
end
stream = RubyAMI::Stream.new(host, port.to_i, username, secret, on_event, Logger.new(File::NULL), 10)
stream.async.run
connected.pop
puts "ready"
while (line = $stdin.gets)
  command, value = line.split
  action, headers = {
    "event" => ["UserEvent", { "UserEvent" => name, "Number" => value }],
    "mask" => ["Events", { "EventMask" => value }],
    "ping" => ["Ping", {}],
  }[command]
  answer = stream.send_action(action, headers, ->(error) {})
  puts "answer #{answer.is_a?(RubyAMI::Error) ? "Error" : "Success"}" # its Response has no header of that name
end
exit!
