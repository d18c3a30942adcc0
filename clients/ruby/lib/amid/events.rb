# frozen_string_literal: true

require_relative "call"
require_relative "deadline"
require_relative "error"
require_relative "socket"

module Amid
  # Events as they come, for ever, and gaps where some are missing. Made by {Client#events}.
  #
  #     client.events("Hangup", "Newchannel").each do |item|
  #       case item
  #       when Amid::Event then puts item.fields["Channel"]
  #       when Amid::Gap then warn item.to_s
  #       end
  #     end
  #
  # What was lost because this program did not read in time is fetched once more and comes in its place. Loss is never silent:
  # what the daemon no longer holds is a {Gap}. When the daemon or a reader is replaced, ZeroMQ reconnects by itself. With names,
  # each name's events are in order; a lost one may come after a later one of another name. For one thread.
  class Events
    include Enumerable

    # Seconds to wait for the first tick of each server that is up, which shows that the subscription is in effect.
    SETTLE = 2.0

    # @param client [Client] asked for what was lost
    # @param feed [Feed]
    # @param timeout [Numeric, nil] seconds to wait for each item
    def initialize(client, feed, timeout:)
      @client = client
      @feed = feed
      @timeout = timeout
      @socket = Socket.subscriber
      feed.endpoints.each { |endpoint| @socket.connect(endpoint) }
      feed.topics.each { |topic| @socket.subscribe(topic) }
      settle
    end

    # Gives the block each item as it comes, until this is closed.
    # @yieldparam item [Event, Gap]
    # @return [self, Enumerator] an enumerator without a block
    # @raise [Error] of kind `:timeout` when none came in time; it is still open, and may be asked again
    def each
      return enum_for unless block_given?

      while (item = take)
        yield item
      end
      self
    end

    # The next item.
    # @return [Event, Gap]
    # @raise [Error] of kind `:timeout` when none came in time; it is still open, and may be asked again
    # @raise [StopIteration] when this is closed
    def next
      take || raise(StopIteration, "these events are closed")
    end

    # @return [Integer] how many events are known to be missing
    def missed
      @feed.missed
    end

    # @return [Integer] how many gaps there were; of one at the end of an epoch nobody knows the size
    def gaps
      @feed.gaps
    end

    # @return [Integer] how many events were lost on the way and fetched once more
    def replayed
      @feed.replayed
    end

    def close
      @socket.close
    end

    def closed?
      @socket.closed?
    end

    private

    def settle
      deadline = Deadline.new(SETTLE)
      receive(deadline) until @feed.settled? || deadline.passed?
    end

    # The next item, or nil when this is closed.
    def take
      deadline = Deadline.new(@timeout)
      until closed?
        item = @feed.next
        return item if item

        left = deadline.left
        raise no_event if left.zero?

        @feed.ask ? fetch([left, Call::TIMEOUT].min) : receive(deadline)
      end
    end

    def receive(deadline)
      frames = @socket.receive(deadline)
      @feed.take(frames) if frames
    end

    def no_event
      Error.new(:timeout, "no event came within #{@timeout} s; the subscription is still open")
    end

    # Asks for what is missing, and gives the daemon so many seconds for it.
    def fetch(limit)
      sleep([@feed.pause, limit].min)
      @feed.fetched(@client.replay(**@feed.ask.to_h, timeout: limit))
    rescue Error => e
      @feed.refused(e, limit)
    end
  end
end
