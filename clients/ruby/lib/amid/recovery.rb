# frozen_string_literal: true

module Amid
  # Which lost events to fetch once more, and when to stop asking. It knows no socket: it stands between {Gaps}, which sees a loss,
  # and {Client#replay}.
  #
  # A gap becomes a range of numbers. It is asked for page by page, until it is whole or the daemon does not hold the rest. Where
  # the daemon holds only the end of a range, it says which number is the oldest, and the asking goes on from there.
  class Recovery
    # Events asked for at a time.
    PAGE = 1000
    # How often a page is asked for when it is refused for now.
    TRIES = 8
    # Seconds between two such tries.
    PAUSE = 0.5
    # Errors that come at once and may be over in a moment: the reader or the broker may just have been replaced.
    FOR_NOW = %i[not_connected busy unreachable].freeze

    # The arguments of {Client#replay}.
    Ask = Struct.new(:server, :epoch, :after, :limit, keyword_init: true)

    # Numbers behind `after` and not behind `until`; nil is to the epoch's end.
    Lost = Struct.new(:server, :epoch, :after, :until, :tries, keyword_init: true) do
      def whole?
        !self.until.nil? && after >= self.until
      end

      def holds?(seq)
        seq > after && (self.until.nil? || seq <= self.until)
      end

      # A range that holds this gap too.
      def widen(gap)
        self.after = [after, gap.after].min
        self.until = self.until && gap.until && [self.until, gap.until].max
      end
    end
    private_constant :Lost

    # @return [Float] seconds to wait before {#ask} is asked
    attr_reader :pause

    def initialize
      @ranges = []
      @pause = 0.0
    end

    # @return [Ask, nil] what to ask for; nil when nothing is to be fetched
    def ask
      first = @ranges.first
      first && Ask.new(server: first.server, epoch: first.epoch, after: first.after, limit: PAGE)
    end

    # Gaps in several names of one epoch are one range, so that their events come in order.
    # @param gaps [Array<Gap>]
    def recover(gaps)
      gaps.each do |gap|
        last = @ranges.last
        next last.widen(gap) if last && [last.server, last.epoch] == [gap.server, gap.epoch]

        @ranges << Lost.new(server: gap.server, epoch: gap.epoch, after: gap.after, until: gap.until, tries: TRIES)
      end
    end

    # @param page [Page] what came of {#ask}
    # @return [Array<Event>] those of its events that lie in the range
    def page(page)
      range = @ranges.first
      wanted = page.events.select { |event| range.holds?(event.seq) }
      range.after = wanted.last.seq unless wanted.empty?
      @pause = 0.0
      @ranges.shift if !page.more || wanted.empty? || range.whole?
      wanted
    end

    # @param error [Error] why nothing came of {#ask}
    def refused(error)
      range = @ranges.first
      @pause = FOR_NOW.include?(error.kind) ? PAUSE : 0.0
      if error.oldest && error.oldest > range.after + 1 && range.holds?(error.oldest)
        range.after = error.oldest - 1
        range.tries = TRIES
      else
        range.tries -= cost(error)
        @ranges.shift unless range.tries.positive?
      end
    end

    private

    # How many of its tries an error takes: a timeout may come twice, what would never change once.
    def cost(error)
      return 1 if FOR_NOW.include?(error.kind)

      error.kind == :timeout ? TRIES / 2 : TRIES
    end
  end
end
