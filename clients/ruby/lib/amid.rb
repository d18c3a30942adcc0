# frozen_string_literal: true

# A client of amid, the daemon that gives every program RPC and events of an Asterisk PBX.
#
#     Amid::Client.open do |client|
#       client.action("QueueAdd", { Queue: "support", Interface: "PJSIP/100" })
#       client.events("Hangup").each { |item| puts item }
#     end
#
# What goes over the sockets is in clients/README.md; `Amid::Client` is where to begin.
module Amid
end

require_relative "amid/client"
