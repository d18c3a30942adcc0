# frozen_string_literal: true

# The harness of the Ruby client; clients/CONFORMANCE.md says what it does.

require "json"
require_relative "lib/amid"
require_relative "notation"

# A method for each `do`; what it yields are the lines of its answer.
class Harness
  METHODS = %w[servers status actions state audit restart ping].freeze

  def initialize(run_dir)
    @client = Amid::Client.new(run_dir)
  end

  def decode(hex:)
    yield({ value: Amid::Wire.unpack([hex].pack("H*")) })
  end

  def encode(value:)
    yield({ hex: Amid::Wire.pack(value).unpack1("H*") })
  end

  def call(method:, params:)
    yield({ result: result(method, params) })
  rescue Amid::Error => e
    yield({ error: e.to_h })
  end

  def calls(count:, at_once:)
    numbers = Queue.new((1..count).to_a).close
    right = Array.new(at_once) { Thread.new { count_right(numbers) } }.sum(&:value)
    yield({ right: right, wrong: count - right, at_once: at_once })
  end

  def events(names:, server:, count:, timeout:, &answer)
    @client.events(*names, server: server, timeout: timeout) do |events|
      yield({ listening: true })
      take(events, count, &answer)
      yield({ end: true, missed: events.missed })
    end
  end

  def changes(kinds:, server:, resets:, timeout:)
    @client.changes(*kinds, server: server, timeout: timeout) do |changes|
      until resets.zero?
        change = changes.next
        resets -= 1 if change["kind"] == "reset"
        yield({ change: change })
      end
    end
    yield({ end: true })
  rescue Amid::Error => e
    yield({ error: e.to_h })
  end

  private

  def result(method, params)
    given = params.transform_keys(&:to_sym)
    case method
    when "action" then action(**given)
    when "events" then @client.pull(**given)
    when *METHODS then @client.public_send(method, **given)
    else @client.call(method, given)
    end
  end

  def action(action:, fields: {}, **rest)
    rest[:until_event] = rest.delete(:until) if rest.key?(:until)
    @client.action(action, fields, **rest)
  end

  # Pings until there are no more numbers, and counts those whose answer was their own.
  def count_right(numbers)
    right = 0
    while (number = numbers.pop)
      answer = @client.action("Ping", { ActionID: "own-#{number}" }, server: "pbx1")
      right += 1 if answer["response"]["ActionID"] == "own-#{number}"
    end
    right
  end

  def take(events, count)
    until count.zero?
      item = events.next
      count -= 1 if item.is_a?(Amid::Event)
      yield({ (item.is_a?(Amid::Event) ? :event : :gap) => item })
    end
  rescue Amid::Error
    # Nothing came in time.
  end
end

$stdin.set_encoding(Encoding::UTF_8)
$stdout.sync = true
harness = Harness.new(ARGV.first)
$stdin.each_line do |line|
  asked = Notation.meant(JSON.parse(line)).transform_keys(&:to_sym)
  harness.public_send(asked.delete(:do), **asked) { |answer| puts JSON.generate(Notation.shown(answer)) }
end
