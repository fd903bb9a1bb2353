;; Makes host calls and logs their results for tests: `on_configure` runs the part that the first byte of the
;; configuration selects, and logs each status as one character (12 is `<`).
;;   t  clocks: wall twice (proxy and WASI) and monotonic, as 8 bytes each, into the record `clocks`
;;   m  metrics: a counter, a gauge, a histogram
;;   q  a shared queue that it registers, fills and is notified of
;;   w  a line to standard error      x  proc_exit(3)
(module
  (import "env" "proxy_log" (func $log (param i32 i32 i32) (result i32)))
  (import "env" "proxy_get_buffer_bytes" (func $get_buffer (param i32 i32 i32 i32 i32) (result i32)))
  (import "env" "proxy_get_current_time_nanoseconds" (func $time (param i32) (result i32)))
  (import "env" "proxy_set_shared_data" (func $set (param i32 i32 i32 i32 i32) (result i32)))
  (import "env" "proxy_define_metric" (func $define (param i32 i32 i32 i32) (result i32)))
  (import "env" "proxy_increment_metric" (func $increment (param i32 i64) (result i32)))
  (import "env" "proxy_record_metric" (func $record (param i32 i64) (result i32)))
  (import "env" "proxy_register_shared_queue" (func $register (param i32 i32 i32) (result i32)))
  (import "env" "proxy_enqueue_shared_queue" (func $enqueue (param i32 i32 i32) (result i32)))
  (import "env" "proxy_dequeue_shared_queue" (func $dequeue (param i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "clock_time_get" (func $clock (param i32 i64 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
  (memory (export "memory") 2)
  (global $free (mut i32) (i32.const 4096))
  (data (i32.const 16) "clocks") (data (i32.const 32) "requests") (data (i32.const 48) "streams") (data (i32.const 64) "latency")
  (data (i32.const 80) "jobs") (data (i32.const 96) "to standard error\n")
  (data (i32.const 128) "\60\00\00\00\12\00\00\00")

  (func (export "proxy_abi_version_0_2_1"))
  (func (export "proxy_on_memory_allocate") (param $size i32) (result i32)
    (local $at i32)
    (local.set $at (global.get $free))
    (global.set $free (i32.add (global.get $free) (local.get $size)))
    (local.get $at))

  ;; Logs a status as one character: `0` plus the number.
  (func $answer (param $status i32)
    (i32.store8 (i32.const 200) (i32.add (i32.const 48) (local.get $status)))
    (drop (call $log (i32.const 2) (i32.const 200) (i32.const 1))))

  (func $clocks
    (drop (call $time (i32.const 512)))
    (drop (call $clock (i32.const 0) (i64.const 1) (i32.const 520)))
    (drop (call $clock (i32.const 1) (i64.const 1) (i32.const 528)))
    (call $answer (call $set (i32.const 16) (i32.const 6) (i32.const 512) (i32.const 24) (i32.const 0))))

  (func $metrics
    (call $answer (call $define (i32.const 0) (i32.const 32) (i32.const 8) (i32.const 512)))
    (call $answer (call $define (i32.const 1) (i32.const 48) (i32.const 7) (i32.const 516)))
    (call $answer (call $define (i32.const 2) (i32.const 64) (i32.const 7) (i32.const 520)))
    (call $answer (call $increment (i32.load (i32.const 512)) (i64.const 3)))
    (call $answer (call $increment (i32.load (i32.const 512)) (i64.const 0)))
    (call $answer (call $record (i32.load (i32.const 512)) (i64.const 2)))
    (call $answer (call $record (i32.load (i32.const 516)) (i64.const 10)))
    (call $answer (call $increment (i32.load (i32.const 516)) (i64.const -4)))
    (call $answer (call $record (i32.load (i32.const 520)) (i64.const 7)))
    (call $answer (call $record (i32.const 99) (i64.const 7))))

  (func $queue
    (call $answer (call $register (i32.const 80) (i32.const 4) (i32.const 512)))
    (call $answer (call $enqueue (i32.load (i32.const 512)) (i32.const 80) (i32.const 4)))
    (call $answer (call $enqueue (i32.const 77) (i32.const 80) (i32.const 4))))

  (func (export "proxy_on_queue_ready") (param $root i32) (param $queue i32)
    (call $answer (call $dequeue (local.get $queue) (i32.const 512) (i32.const 516)))
    (drop (call $log (i32.const 2) (i32.load (i32.const 512)) (i32.load (i32.const 516))))
    (call $answer (call $dequeue (local.get $queue) (i32.const 512) (i32.const 516))))

  (func (export "proxy_on_configure") (param i32 i32) (result i32)
    (local $part i32)
    (drop (call $get_buffer (i32.const 7) (i32.const 0) (i32.const 1) (i32.const 256) (i32.const 260)))
    (local.set $part (i32.load8_u (i32.load (i32.const 256))))
    (if (i32.eq (local.get $part) (i32.const 116)) (then (call $clocks)))
    (if (i32.eq (local.get $part) (i32.const 109)) (then (call $metrics)))
    (if (i32.eq (local.get $part) (i32.const 113)) (then (call $queue)))
    (if (i32.eq (local.get $part) (i32.const 119)) (then
      (call $answer (call $write (i32.const 2) (i32.const 128) (i32.const 1) (i32.const 256)))))
    (if (i32.eq (local.get $part) (i32.const 120)) (then (call $exit (i32.const 3))))
    (i32.const 1)))
