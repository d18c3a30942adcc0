# frozen_string_literal: true

require_relative "error"
require_relative "socket"
require_relative "wire"

module Amid
  # A request that a broker has, and the wait for its answer.
  class Call
    # Seconds that a call may take unless its caller says otherwise; the daemon has the same default.
    TIMEOUT = 5.0
    # Seconds until a request must be with a broker, and that an answer may come after the call's timeout.
    SEND_TIMEOUT = 1.0
    MARGIN = 1.0
    # Seconds. The daemon refuses a longer timeout at once, and that answer is worth waiting for.
    MAX_TIMEOUT = 3600
    MAX_REQUEST_BYTES = 1024 * 1024
    # The methods that change something.
    CHANGING = %w[action restart].freeze

    # @raise [Error] of kind `:invalid_params` or `:invalid_request` for what is no request, `:unreachable` when nobody took it
    def initialize(socket, id, method, params, timeout)
      @socket = socket
      @id = id
      @method = method
      @params = params
      accepted = timeout.is_a?(Numeric) && timeout.positive? && timeout <= MAX_TIMEOUT
      @client_timeout = (accepted ? timeout : TIMEOUT) + MARGIN
      raise Error.unreachable("no amid daemon answers at #{socket.endpoint}") unless socket.send_message(["", request], SEND_TIMEOUT)

      @end = Socket.now + @client_timeout
    end

    # @return [Boolean] whether its answer has come, so that the socket may be used for another call
    def answered?
      @answered
    end

    # @return [Object, nil] the result; nil when it has not come within so many seconds
    # @raise [Error] the one in the answer, or of kind `:timeout` when no answer will come
    def wait(seconds = Float::INFINITY)
      limit = [@end, Socket.now + seconds].min
      loop do
        reply = reply_in(@socket.receive([limit - Socket.now, 0].max))
        return outcome(reply) if reply
        break if Socket.now >= limit
      end
      raise no_answer if limit == @end
    end

    private

    def request
      packed = Wire.pack({ jsonrpc: "2.0", id: @id, method: @method, params: @params })
      return packed if packed.bytesize <= MAX_REQUEST_BYTES

      raise Error.new(:invalid_request, "#{@method}: the request has #{packed.bytesize} bytes; #{MAX_REQUEST_BYTES} are allowed")
    rescue NoMethodError, RangeError, EncodingError, SystemStackError => e # what msgpack raises for what it cannot pack
      raise Error.new(:invalid_params, "#{@method}: a value cannot be put into a request: #{e.message.lines.first.chomp}")
    end

    # One without an id can only be this call's, where one call is open at a time.
    def reply_in(body)
      value = Wire.unpack(body) if body
      value if value.is_a?(Hash) && [@id, nil].include?(value["id"]) && (value.key?("result") || value["error"].is_a?(Hash))
    rescue MessagePack::UnpackError, EOFError
      nil
    end

    def outcome(reply)
      @answered = true
      raise Error.of(reply["error"]) if reply.key?("error")

      reply["result"]
    end

    # The broker has the request, but it is stopped, or was replaced meanwhile.
    def no_answer
      what = [@method, @params[:action]].compact.join(" ")
      text = "the daemon at #{@socket.endpoint} took #{what} and gave no answer within #{@client_timeout} s: see `amid status`"
      Error.new(:timeout, text, sent: CHANGING.include?(@method), server: @params[:server])
    end
  end
end
