# frozen_string_literal: true

require_relative "error"

module Amid
  # Where the daemon is on this machine.
  module Discovery
    # @param run_dir [String, nil] this or AMID_RUN_DIR is the only directory to look in: another could be another PBX's
    # @return [String] the endpoint of the daemon's rpc socket
    # @raise [Error] of kind `:unreachable` when no directory holds one
    def self.find_endpoint(run_dir)
      faults = run_dirs(run_dir).to_h { |directory| [directory, fault_of("#{directory}/rpc")] }
      directory = faults.key(nil)
      return "ipc://#{directory}/rpc" if directory

      raise Error.unreachable("no amid daemon found (#{faults.map { |path, fault| "#{path}: #{fault}" }.join("; ")})")
    end

    def self.run_dirs(run_dir)
      named, private_dir = (run_dir || ENV["AMID_RUN_DIR"]).to_s, ENV["XDG_RUNTIME_DIR"].to_s
      return [named] unless named.empty?

      private_dir.empty? ? ["/run/amid"] : ["/run/amid", "#{private_dir}/amid"]
    end

    # Why nobody can connect there, or nil. Connecting to a socket takes the permission to write it.
    def self.fault_of(path)
      return "no socket" unless File.stat(path).socket?

      "this user may not use its socket" unless File.writable?(path)
    rescue Errno::EACCES
      "this user may not enter it"
    rescue SystemCallError
      "no socket"
    end
    private_class_method :run_dirs, :fault_of
  end
end
