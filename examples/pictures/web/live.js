// The list as the host renders it, whenever it changes. Without this the page is as good, and moves when it is loaded again.
new EventSource('/live').onmessage = ({ data }) => { document.getElementById('wall').innerHTML = data; };
