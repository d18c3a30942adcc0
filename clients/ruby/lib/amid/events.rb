# frozen_string_literal: true

require_relative "call"

module Amid
  # An event of Asterisk, or one of amid, whose name begins with `amid:`.
  #
  # epoch: the event session; seq: the event's number within it; prev: that of the event of the same name before it; time: when the
  # daemon read it, in seconds since 1970; fields [Hash]: every header but `Event`, to text, binary text (ASCII-8BIT) when it is not
  # UTF-8, or an array of them when the header is repeated.
  Event = Struct.new(:server, :epoch, :seq, :prev, :time, :event, :fields, keyword_init: true) do
    def to_s
      "#{server}: #{event} #{fields}"
    end
  end

  # Events that are missing: `missed` of them behind number `after` of `epoch`; nil where the epoch ended: nobody knows.
  Gap = Struct.new(:server, :epoch, :after, :missed, keyword_init: true) do
    def to_s
      "#{server}: #{missed || "an unknown number of"} events missing after number #{after}"
    end
  end

  # Events of a server, in order and each once, also over the restart of a reader or of the daemon, and a {Gap} where the daemon no
  # longer holds what was missed. Made by {Client#events}; for one thread.
  #
  #     client.events("Hangup", "Newchannel").each do |item|
  #       case item
  #       when Amid::Event then puts item.fields["Channel"]
  #       when Amid::Gap then warn item.to_s
  #       end
  #     end
  class Events
    include Enumerable

    # Seconds that one request waits for an event in the daemon, and before a request that failed is made again.
    PULL_TIMEOUT = 5.0
    RETRY_DELAY = 0.5
    # Errors that may be over in a moment.
    TRANSIENT = %i[unreachable not_connected busy timeout connection_lost].freeze

    # @return [Integer] how many events are known to be missing, and how many gaps there were
    attr_reader :missed, :gaps

    # @param query [Hash] `server`, and `names` or `kinds`; nil is left out
    # @param timeout [Numeric, nil] seconds to wait for each item
    def initialize(client, query, timeout)
      @client = client
      @query = query.compact
      @timeout = timeout || Float::INFINITY
      @ready = []
      @missed = @gaps = 0
      @retry_at = 0.0
      method, params, limit = request(0)
      take(client.call(method, params, timeout: limit))
    rescue Error => e # a server whose reader is away begins when it is back
      e.kind == :unreachable ? raise : refused(e)
    end

    # Gives the block each item as it comes, until this is closed.
    # @yieldparam item [Event, Gap]
    # @return [self, Enumerator] an enumerator without a block
    # @raise [Error] of kind `:timeout` when none came in time; it is still open, and may be asked again
    def each
      return enum_for unless block_given?

      while (item = shift)
        yield item
      end
      self
    end

    # @return [Event, Gap] the next item; see {#each}
    # @raise [StopIteration] when this is closed
    def next
      shift || raise(StopIteration, "these events are closed")
    end

    def close
      @closed = true
      drop
    end

    def closed?
      @closed
    end

    private

    # The next item; nil when this is closed.
    def shift
      limit = Socket.now + @timeout
      until @closed || @ready.any?
        left = [limit - Socket.now, 0].max
        wait(left)
        raise Error.new(:timeout, "no event came within #{@timeout} s; the events are still open") if left.zero? && @ready.empty?
      end
      @closed ? nil : @ready.shift.tap { |item| count(item) if item.is_a?(Gap) }
    end

    def count(gap)
      @gaps += 1
      @missed += gap.missed || 0
    end

    # Until something has come, for so many seconds at most.
    def wait(seconds)
      pause = @retry_at - Socket.now
      return sleep([pause, seconds].min) if pause.positive?

      @call ||= ask
      page = @call.wait(seconds) or return
      take(page)
      @call = ask # the daemon works on the next page while this program works on this one
    rescue Error => e
      drop
      refused(e)
    end

    def ask
      @socket ||= @client.connect
      @client.begin(@socket, *request(PULL_TIMEOUT))
    end

    def request(timeout)
      ["events", { **@query, timeout: timeout }, timeout]
    end

    def drop
      @socket&.close
      @socket = @call = nil
    end

    def refused(error)
      raise error unless TRANSIENT.include?(error.kind)

      @retry_at = Socket.now + RETRY_DELAY
    end

    def take(page)
      now = { epoch: page["epoch"], seq: page["seq"] }
      behind = @query.fetch(:after, now)
      @query[:after] = now
      if page["missed"] != 0
        @ready << Gap.new(server: page["server"], epoch: behind[:epoch], after: behind[:seq], missed: page["missed"])
      end
      @ready.concat(page["events"].map { |body| Event.new(**Event.members.to_h { |name| [name, body[name.to_s]] }) })
    end
  end
  # The state of a server as it changes: an iterator of the hashes that the method `events` gives for `kinds`. The first, and the
  # first after a loss of changes, has the `"kind"` `"reset"` and the whole `"state"`. Made by {Client#changes}; for one thread.
  class Changes < Events
    private

    def request(timeout)
      @query[:after] ? super : ["state", { **@query, timeout: Client::STATE_TIMEOUT }, Client::STATE_TIMEOUT]
    end

    def take(page)
      @query = @query.except(:after)
      return if page.fetch("missed", 0) != 0

      @query[:after] = page.slice("epoch", "seq", "rev")
      @ready.concat(page["events"] || [{ "kind" => "reset", "state" => page }])
    end
  end
end
