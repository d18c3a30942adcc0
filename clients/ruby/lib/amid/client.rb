# frozen_string_literal: true

require_relative "call"
require_relative "dealer"
require_relative "error"
require_relative "events"
require_relative "feed"
require_relative "place"
require_relative "values"
require_relative "wire"

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

    # @param run_dir [String, nil] see {#initialize}
    # @yieldparam client [Client] closed at the block's end
    # @return [Object] what the block gives; the client when there is none
    def self.open(run_dir = nil)
      client = new(run_dir)
      return client unless block_given?

      begin
        yield client
      ensure
        client.close
      end
    end

    # @param run_dir [String, nil] the daemon's directory; when left out, AMID_RUN_DIR, or without it the first
    #   of /run/amid and $XDG_RUNTIME_DIR/amid that holds its socket
    def initialize(run_dir = nil)
      @run_dir = run_dir
      @lock = Mutex.new
      @last_id = 0
      own_nothing
    end

    # Sends an action and waits for its whole answer.
    #
    # @param name [String] such as `"Originate"`
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
    def command(text, server: nil, timeout: TIMEOUT)
      action("Command", { Command: text }, server: server, timeout: timeout)["output"]
    end

    # @return [Array<Hash>] of each server `"name"`, `"state"`, `"epoch"`, endpoints, lanes and more
    def servers(timeout: TIMEOUT)
      call("servers", timeout: timeout)
    end

    # @return [Hash] servers, processes, counters, version and uptime of the daemon
    def status(timeout: TIMEOUT)
      call("status", timeout: timeout)
    end

    # @return [Array<Hash>] `"name"`, `"synopsis"` and `"privilege"` of each action that this Asterisk offers
    def actions(server: nil, timeout: TIMEOUT)
      call("actions", { server: server, timeout: timeout }.compact, timeout: timeout)
    end

    # Events once more, from the first behind number `after`. {#events} does it by itself.
    #
    # @param epoch [Integer]
    # @param after [Integer] a seq; 0 is before the first
    # @param limit [Integer] at most so many
    # @return [Page]
    # @raise [Error] of kind `:gone` when they are no longer held; `oldest` is the first number that is
    def replay(server:, epoch:, after:, limit: 1000, timeout: TIMEOUT)
      params = { server: server, epoch: epoch, after: after, limit: limit, timeout: timeout }
      page = call("replay", params, timeout: timeout)
      Page.new(events: page["events"].map { |body| Wire.message(body) }, more: page["more"])
    end

    # Replaces a server's reader.
    # @return [Hash] `"server"`
    def restart(server:, timeout: TIMEOUT)
      call("restart", { server: server }, timeout: timeout)
    end

    # Asks the daemon, not Asterisk, for a sign of life.
    # @return [Hash] nothing in it
    def ping(timeout: TIMEOUT)
      call("ping", timeout: timeout)
    end

    # Any method of the daemon's, for one that is newer than this client.
    #
    # @param method [String]
    # @param params [Hash{Symbol => Object}]
    # @param timeout [Numeric] how long the daemon may take; this does not tell it
    # @return [Object] its result
    def call(method, params = {}, timeout: TIMEOUT)
      asked = Call.new(next_id, method, params, timeout)
      asked.outcome(borrow { |dealer| dealer.ask(asked) })
    end

    # Events as they come: those with these names, or all. The subscription is in effect when this returns.
    #
    # @param names [Array<String>]
    # @param server [String, nil] one server only; otherwise all that the daemon has now
    # @param timeout [Numeric, nil] to wait for each item; nil is for ever
    # @yieldparam events [Events] closed at the block's end
    # @return [Object] what the block gives; the {Events} when there is none
    def events(*names, server: nil, timeout: nil)
      stream = keep(Events.new(self, Feed.new(servers, names: names, server: server), timeout: timeout))
      return stream unless block_given?

      begin
        yield stream
      ensure
        stream.close
      end
    end

    # Closes every socket, and the streams of {#events}. Only when no call is under way; the client may be used again.
    def close
      opened = synchronize { [*@idle, *@streams].tap { own_nothing } }
      opened.each(&:close)
    end

    private

    def next_id
      synchronize { @last_id += 1 }
    end

    def borrow
      dealer = synchronize { @idle.pop } || Dealer.new(Place.find(@run_dir))
      reply = yield dealer
    ensure
      reply ? synchronize { @idle.push(dealer) } : dealer&.close
    end

    def keep(stream)
      synchronize { @streams = @streams.reject(&:closed?).push(stream) }
      stream
    end

    def synchronize
      @lock.synchronize do
        own_nothing unless @owner == Process.pid
        yield
      end
    end

    # The sockets of before a fork are the parent's.
    def own_nothing
      @owner = Process.pid
      @idle = []
      @streams = []
    end
  end
end
