# frozen_string_literal: true

module Amid
  # A call that did not end well. `sent` is the word that matters: false says that Asterisk never saw the action, and trying
  # again is safe; true that it may have been carried out, so that a second try may be a second phone call.
  class Error < StandardError
    # @return [Symbol] what happened: one of the kinds in clients/README.md, or `:unreachable` when no daemon could be asked
    attr_reader :kind
    # @return [Boolean] whether Asterisk may have seen the action
    attr_reader :sent
    # @return [String, nil] the server that was asked
    attr_reader :server
    # @return [String, nil] the ActionID on the wire to Asterisk
    attr_reader :action_id
    # @return [Hash, nil] Asterisk's own packet, with `:action_failed` for one
    attr_reader :response
    # @return [Integer, nil] with `:gone`, the first number of that epoch that `replay` still has
    attr_reader :oldest

    alias sent? sent

    # The error in a reply.
    # @param error [Hash] the reply's `error` member; members that are not known are left alone
    # @return [Error]
    def self.of(error)
      data = error["data"] || {}
      new(
        data.fetch("kind", "internal_error").to_sym, error["message"].to_s,
        # Asterisk may have seen what nobody says it has not.
        sent: data.fetch("sent", true), server: data["server"], action_id: data["action_id"], response: data["response"],
        oldest: data["oldest"]
      )
    end

    def initialize(kind, message, sent: false, server: nil, action_id: nil, response: nil, oldest: nil)
      super(message)
      @kind = kind
      @sent = sent
      @server = server
      @action_id = action_id
      @response = response
      @oldest = oldest
    end

    # @return [Hash{Symbol => Object}] all that is known of it
    def to_h
      { kind: kind, sent: sent, message: message, server: server, action_id: action_id, response: response, oldest: oldest }.compact
    end
  end
end
