# frozen_string_literal: true

require "msgpack"

module Amid
  # How values look on the socket. Text is MessagePack `str` and a UTF-8 string; what is not UTF-8 is `bin` and a binary string
  # (ASCII-8BIT), in both directions.
  module Wire
    def self.pack(value)
      MessagePack.pack(native(value))
    end

    # @raise [MessagePack::UnpackError, EOFError] when it is not MessagePack
    def self.unpack(data)
      MessagePack.unpack(data)
    end

    # Text with bytes that are not of its encoding, as files in Latin-1 give it, goes out as the bytes that it is.
    def self.native(value)
      case value
      when String then value.valid_encoding? ? value : value.b
      when Hash then value.to_h { |name, one| [native(name), native(one)] }
      when Array then value.map { |one| native(one) }
      else value
      end
    end
    private_class_method :native
  end
end
