package main

import (
	"net"
	"net/netip"

	"github.com/spf13/cobra"

	"plasticity/record"
	"plasticity/serve"
)

func newServe(a *app) *cobra.Command {
	var runs, listen string
	cmd := &cobra.Command{
		Use: "serve", Short: "Show runs while they train, in a browser",
		Long: `Show runs while they train, in a browser: each grid with its cells coloured by state, its curves and figures as far as
there is anything to draw, and of each run its numbers, its curves and the end of its log. Folders are read and nothing is
written. Pages load nothing from elsewhere. Only this machine can reach the default address; another one lets everybody look
who reaches it.`,
		Example: `  plasticity serve --runs runs
  plasticity serve --runs runs/weight-decay-quickstart --listen 127.0.0.1:9000`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := required(cmd, "runs"); err != nil {
				return err
			}
			host, port, err := net.SplitHostPort(listen)
			if err != nil {
				return misuse(cmd, err)
			}
			if host == "" {
				host = "127.0.0.1" // every interface only for who says so: 0.0.0.0
			}
			handler, err := serve.Handler(runs, host)
			if err != nil {
				return err
			}
			listener, err := net.Listen("tcp", net.JoinHostPort(host, port))
			if err != nil {
				return record.Fail(record.NotPermitted, "--listen %s: %w: choose a free port, or 127.0.0.1:0 for any", listen, err)
			}
			if at, err := netip.ParseAddrPort(listener.Addr().String()); err == nil && !at.Addr().IsLoopback() {
				a.say("warning: whoever reaches %s can see the runs", at)
			}
			if err := a.print("http://" + listener.Addr().String() + "/"); err != nil {
				return err
			}
			a.say("showing %s; Ctrl-C ends", runs)
			ctx, stop := interruptible(cmd.Context())
			defer stop()
			return serve.Serve(ctx, listener, handler)
		},
	}
	cmd.Flags().StringVar(&runs, "runs", "", "folder of runs: one run, a grid or several grids")
	cmd.Flags().StringVar(&listen, "listen", "127.0.0.1:8080", "host:port to show them at")
	return cmd
}
