# frozen_string_literal: true

# What a subscriber gets.
module Amid
  # A value that nobody changes once it is made.
  module Frozen
    def initialize(**)
      super
      freeze
    end
  end
  private_constant :Frozen

  # An event of Asterisk's, or one of amid's own, whose name begins with `amid:`.
  #
  # server [String]; epoch [Integer]: the event session; seq [Integer]: the event's number within it, from 1; nth [Integer]: its
  # number among the events of its name; time [Float]: when the daemon read it, in seconds since 1970; event [String]: its name;
  # fields [Hash]: every header but `Event`. A header's value is text, binary text (ASCII-8BIT) when it is not UTF-8, or an array
  # of them when the header is repeated.
  Event = Struct.new(:server, :epoch, :seq, :nth, :time, :event, :fields, keyword_init: true) do
    include Frozen

    def to_s
      "#{server}: #{event} #{fields}"
    end
  end

  # Events that this subscriber did not get. They lie behind number `after` and not behind number `until` of `epoch`.
  #
  # missed [Integer, nil]: how many; nil, and so is `until`, at the end of an old epoch, where it cannot be known; event [String,
  # nil]: their name, when only some names are subscribed.
  Gap = Struct.new(:server, :epoch, :after, :until, :missed, :event, keyword_init: true) do
    include Frozen

    def to_s
      return "#{server}: events may be missing after number #{after}: the event session was replaced" unless missed

      "#{server}: #{missed} #{[event, "events"].compact.join(" ")} missing after number #{after}"
    end
  end

  # Once a second: everything up to number `seq` has been published. counts [Hash{String => Integer}]: the last nth of each name.
  Tick = Struct.new(:server, :epoch, :seq, :counts, keyword_init: true) do
    include Frozen
  end

  # What `replay` gives: events [Array<Event>]; more [Boolean]: whether there are more behind them.
  Page = Struct.new(:events, :more, keyword_init: true)
end
