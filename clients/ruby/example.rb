# frozen_string_literal: true

# One action, and then three events: ruby example.rb [RUN_DIR]

require_relative "lib/amid"

Amid::Client.open(ARGV.first) do |client|
  server = client.servers.first["name"]
  answer = client.action("CoreStatus", server: server)
  puts "#{server} is up since #{answer["response"]["CoreStartupTime"]}"

  client.events(server: server, timeout: 10) { |events| puts events.first(3) }
rescue Amid::Error => e
  puts e.message
end
