# ruby_ami: ends its stream at a response that it did not ask for.
require "json"
require "logger"
require "ruby_ami"

host, port, username, secret = ARGV
Celluloid.logger = nil
events = Queue.new
stream = RubyAMI::Stream.new(host, port.to_i, username, secret, ->(event) { events << event }, Logger.new(File::NULL), 10)
stream.async.run
found = {}
numbers = []
originated = nil

def next_event(events)
  Timeout.timeout(15) { events.pop }
end

nil until next_event(events).is_a?(RubyAMI::Stream::Connected)
found["ping"] = stream.send_action("Ping").headers["Ping"]
found["hundred"] = (1..100).count { stream.send_action("Ping").headers["Ping"] == "Pong" }
20.times { |number| stream.send_action("UserEvent", "UserEvent" => ENV["AMI_EVENT"], "Number" => number, "Name" => "Gruesse") }
stream.send_action("Originate", "Channel" => "Local/answer@calls", "Application" => "Hangup", "Async" => "true")
until originated && numbers.size == 20
  event = next_event(events)
  next unless event.respond_to?(:headers)
  numbers << [event.headers["Number"], event.headers["Name"]] if event.name == "UserEvent" && event.headers["UserEvent"] == ENV["AMI_EVENT"]
  originated = event.headers["Response"] if event.name == "OriginateResponse"
end
found["originate"] = originated
found["events"] = numbers
puts JSON.generate(found)
