# frozen_string_literal: true

Gem::Specification.new do |spec|
  spec.name = "amid"
  spec.version = "0.1.0"
  spec.summary = "A client of amid: RPC and events of an Asterisk PBX over ZeroMQ"
  spec.authors = ["the amid authors"]
  spec.license = "MIT"
  spec.required_ruby_version = ">= 3.1"
  spec.files = Dir["lib/**/*.rb"]
  spec.add_dependency "ffi-rzmq", "~> 2.0"
  spec.add_dependency "msgpack", "~> 1.4"
end
