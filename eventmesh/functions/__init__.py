"""What a function is: configuration, code on disk, versions, and where its asynchronous results
go."""
