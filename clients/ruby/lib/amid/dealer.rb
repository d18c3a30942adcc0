# frozen_string_literal: true

require_relative "deadline"
require_relative "place"
require_relative "socket"

module Amid
  # A socket to the daemon that has one call open at a time. After a call without an answer it is to be closed, so that an answer
  # that comes late goes to nobody.
  class Dealer
    # Seconds until a request must be with a broker.
    HANDOVER = 1.0

    # @param endpoint [String]
    def initialize(endpoint)
      @endpoint = endpoint
      @socket = Socket.dealer(endpoint)
    end

    # @param call [Call]
    # @return [Hash] the reply
    # @raise [Error] of kind `:unreachable` when nobody took the request, `:timeout` when no answer came
    def ask(call)
      raise Place.nobody_at(@endpoint) unless @socket.hand_over(call.frames, Deadline.new(HANDOVER))

      answer(call) || raise(call.no_answer(@endpoint))
    end

    def close
      @socket.close
    end

    private

    def answer(call)
      deadline = Deadline.new(call.patience)
      until deadline.passed?
        frames = @socket.receive(deadline)
        reply = call.reply(frames) if frames
        return reply if reply
      end
    end
  end
end
