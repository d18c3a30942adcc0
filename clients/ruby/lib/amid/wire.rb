# frozen_string_literal: true

require "msgpack"
require_relative "values"

module Amid
  # How values, topics and event messages look on the sockets.
  #
  # Text is MessagePack `str` and a UTF-8 string; what is not UTF-8 is `bin` and a binary string (ASCII-8BIT), in both directions.
  module Wire
    TICK = "amid:tick"

    class << self
      # @return [String] the value in MessagePack
      def pack(value)
        MessagePack.pack(native(value))
      end

      # @param data [String]
      # @return [Object] the value in MessagePack bytes
      # @raise [MessagePack::UnpackError, EOFError] when it is not MessagePack
      def unpack(data)
        MessagePack.unpack(data)
      end

      # @param frames [Array<String>] the topic and the body of an event message
      # @return [Array<Event, Tick>]
      def messages(frames)
        unpack(frames.last).map { |body| message(body) }
      end

      # @param body [Hash] an event or a tick; members that are not known are left alone
      # @return [Event, Tick]
      def message(body)
        kind = body["event"] == TICK ? Tick : Event
        kind.new(**kind.members.to_h { |name| [name, body[name.to_s]] })
      end

      # The final dot makes the subscription exact: ZeroMQ compares beginnings.
      def event_topic(server, name)
        "event.#{server}.#{name}."
      end

      def stream_topic(server)
        "stream.#{server}."
      end

      def tick_topic(server)
        "tick.#{server}."
      end

      private

      # Text with bytes that are not of its encoding, as files in Latin-1 give it, goes out as the bytes that it is.
      def native(value)
        case value
        when String then value.valid_encoding? ? value : value.b
        when Hash then value.to_h { |name, one| [native(name), native(one)] }
        when Array then value.map { |one| native(one) }
        else value
        end
      end
    end
  end
end
