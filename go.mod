module github.com/weftq/weft

go 1.26.0
