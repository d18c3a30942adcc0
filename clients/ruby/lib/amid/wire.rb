# frozen_string_literal: true

require "msgpack"

module Amid
  # How values look on the socket. Text is MessagePack `str` and a UTF-8 string; what is not UTF-8 is `bin` and a binary string
  # (ASCII-8BIT), in both directions.
  module Wire
    class << self
      def pack(value)
        MessagePack.pack(native(value))
      end

      # @raise [MessagePack::UnpackError, EOFError] when it is not MessagePack
      def unpack(data)
        MessagePack.unpack(data)
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
