# frozen_string_literal: true

# Values in a harness's lines: JSON, and `{"$bin": "HEX"}` for binary text, which JSON has not (clients/CONFORMANCE.md).
module Notation
  MARK = "$bin"

  module_function

  # A value as a line has it.
  def shown(value)
    case value
    when String then binary?(value) ? { MARK => hex(value) } : value
    when Struct then shown(value.to_h)
    when Hash then value.to_h { |name, one| [binary?(name) ? "#{MARK}:#{hex(name)}" : name, shown(one)] }
    when Array then value.map { |one| shown(one) }
    else value
    end
  end

  # The value that a line means.
  def meant(line)
    case line
    when Hash then line.keys == [MARK] ? binary(line[MARK]) : line.to_h { |name, one| [meant_name(name), meant(one)] }
    when Array then line.map { |one| meant(one) }
    else line
    end
  end

  def meant_name(name)
    name.start_with?("#{MARK}:") ? binary(name.delete_prefix("#{MARK}:")) : name
  end

  def binary?(text)
    text.is_a?(String) && text.encoding == Encoding::BINARY
  end

  def binary(hex)
    [hex].pack("H*")
  end

  def hex(text)
    text.unpack1("H*")
  end
end
