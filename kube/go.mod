module github.com/lanyard-id/lanyard/kube

go 1.26.0
