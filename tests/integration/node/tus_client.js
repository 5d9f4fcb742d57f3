// Drives tus-js-client as told by one JSON argument, and prints what happened as JSON:
//   file, options: as of tus.Upload; stream: give it the file as a stream of unknown length; abortAt: stop after so many
//   bytes were accepted, then go on with a new Upload on the same URL; storage: remember URLs in this file; breakAt: break
//   the first connection over which so many bytes went, and let the client's own retries repair it.
const fs = require('fs')
const http = require('http')
const net = require('net')
const { PassThrough } = require('stream')
const tus = require('tus-js-client')

const task = JSON.parse(process.argv[2])
const requests = []

function breakingAgent(limit) {
  const agent = new http.Agent()
  let broken = false
  agent.createConnection = (options) => {
    const socket = net.connect(options)
    const write = socket.write
    let sent = 0
    socket.write = function (chunk, ...rest) {
      const more = write.call(this, chunk, ...rest)
      sent += chunk.length
      if (sent >= limit && !broken) {
        broken = true
        socket.destroy()
      }
      return more
    }
    return socket
  }
  return agent
}

function run(extra) {
  return new Promise((resolve, reject) => {
    const file = fs.createReadStream(task.file)
    const options = {
      retryDelays: [100, 300, 1000, 3000],
      ...task.options,
      ...extra,
      onBeforeRequest(request) {
        requests.push(`${request.getMethod()} ${new URL(request.getURL()).pathname}`)
      },
      onError: reject,
      onSuccess: () => resolve(upload.url),
      onChunkComplete(_, accepted) {
        if (task.abortAt && !extra && accepted >= task.abortAt) {
          upload.abort().then(() => resolve(upload.url), reject)
        }
      },
    }
    if (task.storage) options.urlStorage = new tus.FileUrlStorage(task.storage)
    if (task.breakAt) options.httpStack = new tus.DefaultHttpStack({ agent: breakingAgent(task.breakAt) })
    const upload = new tus.Upload(task.stream ? file.pipe(new PassThrough()) : file, options)
    if (extra && task.storage) {
      upload.findPreviousUploads().then((previous) => {
        upload.resumeFromPreviousUpload(previous[0])
        upload.start()
      }, reject)
    } else {
      upload.start()
    }
  })
}

run()
  .then((url) => (task.abortAt ? run(task.storage ? {} : { uploadUrl: url }) : url))
  .then(
    (url) => console.log(JSON.stringify({ url, requests })),
    (error) => {
      console.log(JSON.stringify({ error: String(error), requests }))
      process.exitCode = 1
    },
  )
