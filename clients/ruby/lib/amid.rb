# frozen_string_literal: true

# A client of amid, the daemon that gives every program RPC and events of an Asterisk PBX. `Amid::Client` is where to begin.
#
#     Amid::Client.open do |client|
#       client.action("QueueAdd", { Queue: "support", Interface: "PJSIP/100" })
#       client.events("Hangup").each { |item| puts item }
#     end
require_relative "amid/client"
