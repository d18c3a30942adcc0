# frozen_string_literal: true

require_relative "call"
require_relative "discovery"
require_relative "events"

module Amid
  # A connection to the daemon. Nothing is opened before the first call.
  #
  # Every method raises {Error}, whose `kind` says what happened and whose `sent` whether Asterisk may have seen the action.
  # No action is ever sent a second time. Every timeout is in seconds; a call ends two seconds after its own at the latest.
  #
  # A call borrows a socket of its own and gives it back when it has its answer, so a client may be used from many threads at
  # once, and a slow call holds up no other. It may be used in a forked child too, but not so the events opened before.
  class Client
    TIMEOUT = Call::TIMEOUT
    # The first request for the state of a PBX makes the daemon load its lists.
    STATE_TIMEOUT = 10.0

    # @yieldparam client [Client] closed at the block's end
    # @return [Object] what the block gives; the client when there is none
    def self.open(run_dir = nil, &block) = lend(new(run_dir), &block)

    # @api private
    def self.lend(opened)
      return opened unless block_given?

      begin
        yield opened
      ensure
        opened.close
      end
    end

    # @param run_dir [String, nil] the daemon's directory; when left out, AMID_RUN_DIR, or without it the first
    #   of /run/amid and $XDG_RUNTIME_DIR/amid that holds its socket
    def initialize(run_dir = nil)
      @run_dir = run_dir
      @lock = Mutex.new
      @last_id = 0
      forget_sockets
    end

    # Sends an action and waits for its whole answer.
    #
    # @param fields [Hash] header name => text, number or boolean, or an array of them for a repeated header. A name or value that
    #   is not UTF-8 is a binary string.
    # @param server [String, nil] may be left out when there is one
    # @param until_event [String, nil] the name of a later event with this ActionID to wait for as well (`until` on the wire)
    # @return [Hash] `"response"`, `"events"`, `"complete"`, `"output"`, `"until"`, `"elapsed"` and more, as clients/README.md says
    def action(name, fields = {}, server: nil, timeout: TIMEOUT, until_event: nil)
      params = { action: name, fields: fields, server: server, timeout: timeout, until: until_event }
      call("action", params.compact, timeout: timeout)
    end

    # @param text [String] an Asterisk CLI command
    # @return [Array<String>] the lines of its output
    def command(text, server: nil, timeout: TIMEOUT) =
      action("Command", { Command: text }, server: server, timeout: timeout)["output"]

    # @return [Array<Hash>] of each server `"name"`, `"state"`, `"epoch"`, endpoints, lanes and more
    def servers(timeout: TIMEOUT) = call("servers", timeout: timeout)

    # @return [Hash] servers, processes, counters, version and uptime of the daemon
    def status(timeout: TIMEOUT) = call("status", timeout: timeout)

    # @return [Array<Hash>] `"name"`, `"synopsis"` and `"privilege"` of each action that this Asterisk offers
    def actions(server: nil, timeout: TIMEOUT) = call("actions", { server: server, timeout: timeout }.compact, timeout: timeout)

    # One page of events behind the cursor `after` (nil: from now on), as soon as there is one, or empty after `timeout`. {#events}
    # does this for ever.
    #
    # @param names [Array<String>, nil] all when it is nil
    # @return [Hash] `"epoch"`, `"seq"`, `"events"`, `"missed"` and `"more"`, as clients/README.md says
    def pull(server: nil, after: nil, names: nil, limit: nil, timeout: 25.0)
      params = { server: server, after: after, names: names, limit: limit, timeout: timeout }
      call("events", params.compact, timeout: timeout)
    end

    # The live state of a PBX, a list for each kind, exactly as of event `"seq"`.
    #
    # @param kinds [Array<String>, nil] such as "channels"; all when it is nil
    # @param where [String, Array<String>, Hash, nil] a condition on members, such as "state=Up"
    def state(server: nil, kinds: nil, where: nil, timeout: STATE_TIMEOUT) =
      call("state", { server: server, kinds: kinds, where: where, timeout: timeout }.compact, timeout: timeout)

    # @return [Hash] `"records"` of the audit trail behind number `after`, for callers with `admin`
    def audit(after: 0, limit: 1000, timeout: TIMEOUT) = call("audit", { after: after, limit: limit }, timeout: timeout)

    # Replaces a server's reader.
    def restart(server:, timeout: TIMEOUT) = call("restart", { server: server }, timeout: timeout)

    # Asks the daemon, not Asterisk, for a sign of life.
    def ping(timeout: TIMEOUT) = call("ping", timeout: timeout)

    # Any method of the daemon, for one that is newer than this client. The timeout is how long it may take; this does not tell it.
    # @return [Object] its result
    def call(method, params = {}, timeout: TIMEOUT)
      socket = synchronize { @idle.pop } || connect
      request = self.begin(socket, method, params, timeout)
      request.wait
    ensure
      request&.answered? ? synchronize { @idle.push(socket) } : socket&.close
    end

    # Events as they come: those with these names, or all. Whatever comes once this has returned is given.
    #
    # @param server [String, nil] may be left out when there is one
    # @param timeout [Numeric, nil] to wait for each item; nil is for ever
    # @yieldparam events [Events] closed at the block's end
    # @return [Object] what the block gives; the {Events} when there is none
    def events(*names, server: nil, timeout: nil, &block) =
      keep(Events.new(self, { server: server, names: (names unless names.empty?) }, timeout), &block)

    # The live state and its changes as they come: see {Changes}. Server, timeout and block are those of {#events}.
    def changes(*kinds, server: nil, timeout: nil, &block) =
      keep(Changes.new(self, { server: server, kinds: kinds }, timeout), &block)

    # Closes every socket, and the streams of {#events}. Only when no call is under way; the client may be used again.
    def close
      opened = synchronize { [*@idle, *@streams].tap { forget_sockets } }
      opened.each(&:close)
    end

    # @api private
    def connect = Socket.new(Discovery.find_endpoint(@run_dir))

    # @api private
    def begin(socket, method, params, timeout) = Call.new(socket, synchronize { @last_id += 1 }, method, params, timeout)

    private

    def keep(stream, &block)
      synchronize { @streams = @streams.reject(&:closed?).push(stream) }
      Client.lend(stream, &block)
    end

    def synchronize
      @lock.synchronize do
        forget_sockets unless @owner == Process.pid
        yield
      end
    end

    # The sockets of before a fork are the parent's.
    def forget_sockets
      @owner = Process.pid
      @idle = []
      @streams = []
    end
  end
end
