# frozen_string_literal: true

require_relative "call"
require_relative "error"
require_relative "gaps"
require_relative "recovery"
require_relative "wire"

module Amid
  # What a subscriber does with its messages, without a socket or a clock: give {#take} each of them, and get events and gaps from
  # {#next}.
  #
  # What is missing is fetched once more before anything behind it is given out. While {#ask} is not nil, events are missing: call
  # {Client#replay} with it, and give {#fetched} or {#refused} what came of it, before the next message. What cannot be had comes
  # as a gap in its place, so that no loss is silent.
  class Feed
    # @return [Integer] events that are known to be missing
    attr_reader :missed
    # @return [Integer] gaps that were given out; of one at the end of an epoch nobody knows the size
    attr_reader :gaps
    # @return [Integer] events that were lost and fetched
    attr_reader :replayed

    # @param listed [Array<Hash>] the result of {Client#servers}
    # @param names [Array<String>] the events wanted, all when empty
    # @param server [String, nil] the only server wanted
    # @raise [Error] of kind `:unknown_server`
    def initialize(listed, names:, server:)
      @names = names.map(&:to_s).uniq unless names.empty?
      @servers = chosen(listed, server)
      @awaited = @servers.select { |one| one["state"] == "up" }.map { |one| one["name"] }
      @rule = Gaps.new(@names)
      @recovery = Recovery.new
      @recovering = false
      @inbox = []
      @ready = []
      @missed = @gaps = @replayed = 0
    end

    # @return [Array<String>] where to subscribe
    def endpoints
      @servers.map { |server| server[@names ? "events" : "stream"] }
    end

    # @return [Array<String>] ticks last: the first tick then shows that all of them are in effect
    def topics
      servers = @servers.map { |server| server["name"] }
      servers.flat_map { |server| wanted_topics(server) } + servers.map { |server| Wire.tick_topic(server) }
    end

    # Every server that was up has ticked: whatever it publishes from now on will come.
    def settled?
      @awaited.empty?
    end

    # @param frames [Array<String>] a message that came
    def take(frames)
      messages = Wire.messages(frames)
      messages.each { |message| @awaited.delete(message.server) if message.is_a?(Tick) }
      @inbox.concat(messages)
      advance
    end

    # @return [Recovery::Ask, nil] what to ask `replay` for
    def ask
      @recovery.ask
    end

    # @return [Float] seconds to wait before asking it
    def pause
      @recovery.pause
    end

    # @param page [Page] what `replay` gave for {#ask}
    def fetched(page)
      @recovery.page(page).each { |event| @replayed += 1 if take_event(event) }
      advance
    end

    # `replay` did not give it. What the caller's own limit cut short is asked again.
    # @param error [Error]
    # @param limit [Numeric] seconds that it was given
    def refused(error, limit)
      return if error.kind == :timeout && limit < Call::TIMEOUT

      @recovery.refused(error)
      advance
    end

    # @return [Event, Gap, nil] the next item, when there is one
    def next
      @ready.shift
    end

    private

    def chosen(listed, server)
      chosen = listed.select { |one| server.nil? || one["name"] == server }
      return chosen unless chosen.empty?

      known = listed.map { |one| one["name"] }.join(", ")
      raise Error.new(:unknown_server, "there is no server #{server || "at all"}; the daemon has: #{known}", server: server)
    end

    def wanted_topics(server)
      @names ? @names.map { |name| Wire.event_topic(server, name) } : [Wire.stream_topic(server)]
    end

    # Takes what came, up to where something is missing that may still be had.
    def advance
      until @inbox.empty? || ask
        take_message(@inbox.shift) unless recover?
      end
    end

    # Whether something is missing before the next message that was not asked for yet. Then it is now; what has not come when
    # that is over will not come.
    def recover?
      missing = @recovering ? [] : @rule.before(@inbox.first)
      @recovery.recover(missing.map { |gap| @rule.widened(gap) })
      @recovering = !missing.empty?
    end

    def take_message(message)
      return take_event(message) unless message.is_a?(Tick)

      @rule.tick(message).each { |gap| give_gap(gap) }
    end

    # @return [Boolean] whether it is one that was asked for and is new
    def take_event(event)
      return false if @names && !@names.include?(event.event)

      fresh, gaps = @rule.event(event)
      gaps.each { |gap| give_gap(gap) }
      @ready << event if fresh
      fresh
    end

    def give_gap(gap)
      @gaps += 1
      @missed += gap.missed.to_i
      @ready << gap
    end
  end
end
