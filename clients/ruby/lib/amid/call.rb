# frozen_string_literal: true

require_relative "error"
require_relative "wire"

module Amid
  # A request, how long to wait for its answer, and what the answer means. It knows no socket.
  class Call
    # Seconds that a call may take unless its caller says otherwise; the daemon has the same default.
    TIMEOUT = 5.0
    # Seconds that an answer may come after the call's timeout, for the way to the broker and back.
    MARGIN = 1.0
    # The longest timeout that the daemon accepts, in seconds.
    LONGEST = 3600
    # The methods that change nothing: without an answer of theirs, nothing was done.
    READ_ONLY = %w[servers status actions replay ping].freeze

    # @return [Array<String>] the message, with the empty frame that a DEALER has to send itself
    attr_reader :frames
    # @return [Float] seconds to wait for the answer
    attr_reader :patience

    # @param id [Integer]
    # @param method [String]
    # @param params [Hash]
    # @param timeout [Numeric] in seconds
    # @raise [Error] of kind `:invalid_params` when a value has no place in a request
    def initialize(id, method, params, timeout)
      @id = id
      @method = method
      @params = params
      @patience = patience_for(timeout)
      @frames = ["", packed]
    end

    # @param frames [Array<String>] a message that came
    # @return [Hash, nil] the reply to this call; one without an id can only be ours, where one call is open at a time
    def reply(frames)
      value = Wire.unpack(frames.last)
      value if value.is_a?(Hash) && [@id, nil].include?(value["id"]) && (value.key?("result") || value["error"].is_a?(Hash))
    rescue MessagePack::UnpackError, EOFError
      nil
    end

    # @param reply [Hash]
    # @return [Object] its result
    # @raise [Error] the error in it
    def outcome(reply)
      raise Error.of(reply["error"]) if reply.key?("error")

      reply["result"]
    end

    # @return [Error] what to raise when no answer came: the broker has the request, but it is stopped, or was replaced meanwhile
    def no_answer(endpoint)
      what = [@method, @params[:action]].compact.join(" ")
      Error.new(
        :timeout, "the daemon at #{endpoint} took #{what} and gave no answer within #{patience} s: see `amid status`",
        sent: !READ_ONLY.include?(@method), server: @params[:server]
      )
    end

    private

    # The daemon soon refuses a timeout that it does not accept, and that answer is worth waiting for.
    def patience_for(timeout)
      accepted = timeout.is_a?(Numeric) && timeout.positive? && timeout <= LONGEST
      (accepted ? timeout : TIMEOUT) + MARGIN
    end

    def packed
      Wire.pack({ jsonrpc: "2.0", id: @id, method: @method, params: @params })
    rescue NoMethodError, RangeError, EncodingError, SystemStackError => e # what msgpack raises for what it cannot pack
      raise Error.new(:invalid_params, "#{@method}: a value cannot be put into a request: #{e.message.lines.first.chomp}")
    end
  end
end
