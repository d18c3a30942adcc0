# frozen_string_literal: true

module Amid
  # A call that failed. `sent` false: Asterisk never received the action, so retrying is safe. True: it may have run, and a second
  # try may be a second phone call.
  class Error < StandardError
    # kind [Symbol]: one of the kinds in clients/README.md, or `:unreachable`: no daemon took the request; action_id: the ActionID on
    # the wire to Asterisk; response [Hash]: Asterisk's own packet, with `:action_failed` for one. Nil where it is not known.
    attr_reader :kind, :sent, :server, :action_id, :response

    alias sent? sent

    # @param error [Hash] the `error` member of a reply; without `sent` in it, Asterisk may have received the action
    # @return [Error]
    def self.of(error)
      data = error["data"] || {}
      known = { server: data["server"], action_id: data["action_id"], response: data["response"] }
      new(data.fetch("kind", "internal_error").to_sym, error["message"].to_s, sent: data.fetch("sent", true), **known)
    end

    # @return [Error] nobody took a request
    def self.unreachable(what)
      new(:unreachable, "#{what}: start one with `amid run`, or name its directory in AMID_RUN_DIR")
    end

    def initialize(kind, message, sent: false, server: nil, action_id: nil, response: nil)
      super(message)
      @kind, @sent, @server, @action_id, @response = kind, sent, server, action_id, response
    end

    # @return [Hash{Symbol => Object}] all that is known of it
    def to_h
      { kind: kind, sent: sent, message: message, server: server, action_id: action_id, response: response }.compact
    end
  end
end
