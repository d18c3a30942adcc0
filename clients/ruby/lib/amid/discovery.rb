# frozen_string_literal: true

require_relative "error"

module Amid
  # Where the daemon is on this machine.
  module Discovery
    class << self
      # @param run_dir [String, nil] this or AMID_RUN_DIR is the only directory to look in: another could be another PBX's
      # @return [String] the endpoint of the daemon's rpc socket
      # @raise [Error] of kind `:unreachable` when no directory holds one
      def find_endpoint(run_dir)
        faults = run_dirs(run_dir).to_h { |directory| [directory, fault_of("#{directory}/rpc")] }
        directory = faults.key(nil)
        return "ipc://#{directory}/rpc" if directory

        raise Error.unreachable("no amid daemon found (#{faults.map { |path, fault| "#{path}: #{fault}" }.join("; ")})")
      end

      private

      def run_dirs(run_dir)
        named = run_dir || ENV.fetch("AMID_RUN_DIR", "")
        return [named] unless named.to_s.empty?

        private_dir = ENV["XDG_RUNTIME_DIR"].to_s
        private_dir.empty? ? ["/run/amid"] : ["/run/amid", "#{private_dir}/amid"]
      end

      # Why nobody can connect there, or nil. Connecting to a socket takes the permission to write it.
      def fault_of(path)
        return "no socket" unless File.stat(path).socket?

        "this user may not use its socket" unless File.writable?(path)
      rescue Errno::EACCES
        "this user may not enter it"
      rescue SystemCallError
        "no socket"
      end
    end
  end
end
