# frozen_string_literal: true

module Amid
  # A moment until which something may take, on a clock that nobody sets.
  class Deadline
    # @param seconds [Numeric, nil] from now; nil is never
    def initialize(seconds)
      @at = now + (seconds || Float::INFINITY)
    end

    # @return [Float] seconds until then, at least 0
    def left
      [@at - now, 0.0].max
    end

    def passed?
      left.zero?
    end

    private

    def now
      Process.clock_gettime(Process::CLOCK_MONOTONIC)
    end
  end
end
