# frozen_string_literal: true

require_relative "values"

module Amid
  # The rule that finds lost events by their numbers, so that no loss is silent. It knows no socket.
  #
  # `epoch` changes with each event session and only grows; `seq` counts a server's events within an epoch; `nth` counts them per
  # name, so that a subscriber to some names, who sees holes in `seq` by design, can check too. A tick states the last of each, so
  # that loss at the end of a quiet stream shows.
  #
  # Give {#event} each event and {#tick} each tick, in the order they come. {#before} tells the same and takes nothing, for a
  # subscriber that fetches what it missed before it goes on.
  class Gaps
    # What is remembered of a server.
    class Seen
      attr_reader :epoch, :seq

      # An epoch that began before our eyes: nothing of it has been seen, and all of it counts.
      def self.begun(epoch)
        new(epoch, 0, counts: {})
      end

      # @param counts [Hash{String => Integer}, nil] the last nth of each name; nil is unknown
      def initialize(epoch, seq, counts: nil)
        @epoch = epoch
        @seq = seq
        @base = seq
        @counted = !counts.nil?
        @nths = counts.to_h.dup
        @seqs = {}
      end

      def take(event)
        @seq = [@seq, event.seq].max
        @seqs[event.event] = event.seq
        @nths[event.event] = event.nth
      end

      # The last nth of this name. `otherwise` is for a name whose count is not known.
      def nth(name, otherwise)
        @nths.fetch(name) { @counted ? 0 : otherwise }
      end

      # Behind which number the next event of this name comes; those of other names may have come since.
      def after(name)
        @seqs.fetch(name, @base)
      end

      # Whether it has this tick already.
      def beyond?(tick)
        ([tick.epoch, tick.seq] <=> [epoch, seq]).negative?
      end
    end
    private_constant :Seen

    # @param names [Enumerable<String>, nil] the event names subscribed to; nil is all of them
    def initialize(names = nil)
      @names = names&.sort
      @seen = {}
    end

    # @param event [Event]
    # @return [Array(Boolean, Array<Gap>)] whether it is new, and the gaps before it
    def event(event)
      seen = @seen[event.server]
      return [false, []] if seen && !fresh?(event, seen)

      gaps = before_event(event)
      session(event).take(event)
      [true, gaps]
    end

    # Everything up to a tick's seq has been published, so it replaces all that is remembered of its server.
    # @param tick [Tick]
    # @return [Array<Gap>] what it shows to be missing
    def tick(tick)
      gaps = before_tick(tick)
      @seen[tick.server] = Seen.new(tick.epoch, tick.seq, counts: tick.counts) unless @seen[tick.server]&.beyond?(tick)
      gaps
    end

    # @param message [Event, Tick] the next to be taken
    # @return [Array<Gap>] what it shows to be missing
    def before(message)
      message.is_a?(Tick) ? before_tick(message) : before_event(message)
    end

    # With names only: the gap from where nothing of any name is missing. What was lost of the others lies there too.
    # @param gap [Gap]
    # @return [Gap]
    def widened(gap)
      seen = @seen[gap.server]
      return gap unless @names && seen && seen.epoch == gap.epoch

      Gap.new(**gap.to_h, after: @names.map { |name| seen.after(name) }.min)
    end

    private

    # With names only, each name is a stream of its own: of one a lost event may be fetched when another's has come.
    def fresh?(event, seen)
      return event.epoch > seen.epoch if event.epoch != seen.epoch

      event.seq > (@names ? seen.after(event.event) : seen.seq)
    end

    # What is remembered of the epoch of an event that is new.
    def session(event)
      seen = @seen[event.server]
      return @seen[event.server] = Seen.new(event.epoch, event.seq) unless seen
      return @seen[event.server] = Seen.begun(event.epoch) if event.epoch != seen.epoch

      seen
    end

    def before_event(event)
      seen = @seen[event.server]
      return [] unless seen && fresh?(event, seen)
      return lost_before_event(event, seen) if event.epoch == seen.epoch

      [ended(event.server, seen), *lost_before_event(event, Seen.begun(event.epoch))]
    end

    def before_tick(tick)
      seen = @seen[tick.server]
      return [] if seen.nil? || seen.beyond?(tick)
      return lost_before_tick(tick, seen) if tick.epoch == seen.epoch

      [ended(tick.server, seen), *lost_before_tick(tick, Seen.begun(tick.epoch))]
    end

    def lost_before_event(event, seen)
      return lost(event, seen.seq, event.seq - 1, event.seq - seen.seq - 1) unless @names

      name = event.event
      lost(event, seen.after(name), event.seq - 1, event.nth - seen.nth(name, event.nth - 1) - 1, name)
    end

    def lost_before_tick(tick, seen)
      return lost(tick, seen.seq, tick.seq, tick.seq - seen.seq) unless @names

      @names.flat_map do |name|
        count = tick.counts.fetch(name, 0)
        lost(tick, seen.after(name), tick.seq, count - seen.nth(name, count), name)
      end
    end

    def lost(message, after, last, missed, name = nil)
      return [] unless missed.positive?

      [Gap.new(server: message.server, epoch: message.epoch, after: after, until: last, missed: missed, event: name)]
    end

    # What came behind the last number of an old epoch, and how much it was, cannot be known.
    def ended(server, seen)
      Gap.new(server: server, epoch: seen.epoch, after: seen.seq)
    end
  end
end
